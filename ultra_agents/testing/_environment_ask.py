"""Checks of the environment kit that ask: words, names, features, and what is optional."""

from __future__ import annotations

import math
from collections.abc import Mapping

import gymnasium
import numpy as np

from ultra_agents.contracts import Environment, Options, Quantity, capabilities
from ultra_agents.contracts.quantities import RESERVED, is_word
from ultra_agents.records import Array, FloatArray
from ultra_agents.testing._described import check_described
from ultra_agents.testing._environment_play import PLAYED, made, need, random_actions, sample_observations
from ultra_agents.testing._report import Broken, Skip, require

LONGEST_DESCRIPTION = 600
"""Characters."""
LONGEST_BRIEF = 800
"""Tokens, at 3.5 characters each: every agent reads it with every question, and small models read 2,048 in all."""
LONGEST_NAME = 40
"""Characters of an action's name."""
LONGEST_MEANING = 200
"""Characters of a part of the legend: all of it goes into prompts."""
LEAST_USUAL = 0.5
"""Share of the steps of random play in which a quantity must be in its usual range; good play may be elsewhere."""
LARGEST_FEATURE = 100.0
"""In states that are played; matching measures distances, and one column must not drown the others."""


def plain_words(text: str, what: str) -> None:
    """Text that goes into a prompt: printable, so that it cannot carry terminal or chat-template controls."""
    bad = sorted({character for character in text if not character.isprintable() and character != "\n"})
    require(not bad, f"{what} holds control characters: {', '.join(map(ascii, bad))}", "remove them")
    marks = [mark for mark in ("<|", "[INST]", "<<SYS>>", "<think>") if mark in text]
    require(not marks, f"{what} holds {marks[0] if marks else ''!r}, which chat templates read as a command")


def check_identity(environment: Environment, _: int) -> str:
    options = type(environment).Options
    require(issubclass(options, Options), f"Options is {options}, not a subclass of contracts.Options")
    require(options.model_config.get("extra") == "forbid", "Options let unknown keys pass")
    require(isinstance(environment.env_id, str) and environment.env_id.strip(), "env_id is empty")
    plain_words(environment.env_id, "env_id")
    return environment.env_id


def check_brief(environment: Environment, _: int) -> str:
    brief = environment.brief
    for part in ("goal", "dynamics", "actions", "reward", "termination"):
        require(getattr(brief, part).strip(), f"brief.{part} is empty")
    for part, text in vars(brief).items():
        plain_words(text, f"brief.{part}")
    for name in environment.actions.names:
        require(name in brief.actions, f"brief.actions does not explain {name!r}")
    tokens = math.ceil(sum(map(len, vars(brief).values())) / 3.5)
    require(tokens <= LONGEST_BRIEF, f"the brief has about {tokens} tokens, at most {LONGEST_BRIEF} are allowed")
    return f"about {tokens} of {LONGEST_BRIEF} tokens"


def check_describe(environment: Environment, _: int) -> str:
    observations, info = sample_observations(environment)
    longest = 0
    for observation in observations:
        text = environment.describe(observation, info)
        require(isinstance(text, str) and text.strip(), f"describe({observation}) is {text!r}")
        require(len(text) < LONGEST_DESCRIPTION, f"describe({observation}) has {len(text)} characters")
        require("\n" not in text, f"{text!r} has more than one line")
        plain_words(text, repr(text))
        words = text.lower().replace(",", " ").replace(".", " ").split()
        require("nan" not in words and "inf" not in words, f"describe({observation}) says {text!r}")
        longest = max(longest, len(text.split()))
    return f"{len(observations)} observations, at most {longest} words"


def check_actions(environment: Environment, _: int) -> str:
    codec, space = environment.actions, environment.action_space
    require(codec.names, "no action has a name")
    require(len(set(codec.names)) == len(codec.names), f"a name is there twice: {codec.names}")
    for name in codec.names:
        require(name.strip() == name and name, f"the action name {name!r} is empty or has spaces around it")
        require("\n" not in name, f"the action name {name!r} has more than one line")
        require(len(name) <= LONGEST_NAME, f"the action name {name!r} has {len(name)} characters")
        plain_words(name, f"the action name {name!r}")
        action = codec.encode(name)
        require(space.contains(np.asarray(action).astype(space.dtype)), f"{name!r} encodes to {action}, not an action")
        back = codec.decode(action)
        require(back == name, f"{name!r} encodes to {action}, which decodes to {back!r}")
    for action in random_actions(environment, 50, 1):
        require(codec.decode(action[0]) in codec.names, f"action {action[0]} decodes to no known name")
    if isinstance(space, gymnasium.spaces.Discrete):
        require(len(codec.names) == space.n, f"{len(codec.names)} names for {space.n} actions")
    unknown = "no action is called this"
    try:
        codec.encode(unknown)
    except KeyError:
        return ", ".join(codec.names)
    raise Broken("an unknown name is encoded instead of raising KeyError")


def check_features(environment: Environment, _: int) -> str:
    observations = np.stack(sample_observations(environment)[0])
    features = environment.features(observations)
    require(features.ndim == 2 and len(features) == len(observations), f"features have shape {features.shape}")
    require(features.dtype.kind == "f" and np.isfinite(features).all(), "features are not all finite floats")
    single = environment.features(observations[:1])
    require(np.allclose(single, features[:1]), "a state's features depend on the others in the batch")
    require(features.shape[1] > 0, "there is not a single feature")
    reached = np.abs(features[:PLAYED]).max(axis=0)
    worst = int(np.argmax(reached))
    require(
        reached[worst] <= LARGEST_FEATURE,
        f"column {worst} of the features goes up to {reached[worst]:,.0f} in play; {LARGEST_FEATURE:g} is still sane",
        "divide each column by what it usually varies by, so that its scale is about 1",
    )
    require(
        np.ptp(features, axis=0).max() > 1e-6,
        "all states have the same features, so all states would match all advice",
    )
    return f"{features.shape[1]} columns, up to {reached[worst]:.3g} in play"


def check_quantities(environment: Environment, _: int) -> str:
    need(environment, "quantities")
    legend = environment.legend
    _check_legend(legend)
    sampled, info = sample_observations(environment)
    observations = np.stack(sampled)
    kept = observations.copy()
    found = _named(environment, observations)
    require(np.array_equal(observations, kept, equal_nan=True), "quantities() changes the observations it is given")
    again = _named(environment, kept)
    _alike(found, again, "the same observations give other quantities the second time")
    for name, values in found.items():
        infinite = np.isinf(values)
        if infinite.any():
            raise Broken(f"{name} is infinite for {observations[infinite][0]}", "give NaN where there is no number")
    rows = [_named(environment, observations[index : index + 1]) for index in range(len(observations))]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in legend}
    _alike(found, joined, "a state's quantities depend on the others in the batch")
    _named(environment, observations[:0])
    if observations.dtype.kind == "f":
        for value in (np.nan, np.inf, -np.inf):
            broken = _named(environment, np.full_like(observations[:2], value))
            require(
                not any(np.isinf(values).any() for values in broken.values()),
                f"quantities of an observation of {value} are infinite",
                "give NaN where there is no number",
            )
    silent = _check_play(legend, found)
    spoken = check_described([environment.describe(one, info) for one in sampled[:PLAYED]], found, legend)
    return f"{', '.join(legend)}{silent}{f'; describe() says {spoken} of them in numbers' if spoken else ''}"


def _check_legend(legend: Mapping[str, Quantity]) -> None:
    require(legend, "the legend is empty")
    for name, one in legend.items():
        require(
            is_word(name),
            f"a quantity is called {name!r}, which cannot be written in a rule",
            f"use letters, digits and _, beginning with a letter; none of {', '.join(sorted(RESERVED))}",
        )
        require(isinstance(one, Quantity), f"legend[{name!r}] is {type(one).__name__}, not a Quantity")
        for part in ("unit", "meaning"):
            require(getattr(one, part).strip(), f"legend[{name!r}].{part} is empty")
        for part in ("unit", "meaning", "sign"):
            text = getattr(one, part)
            plain_words(text, f"legend[{name!r}].{part}")
            require(len(text) <= LONGEST_MEANING, f"legend[{name!r}].{part} has {len(text)} characters")
        require(
            math.isfinite(one.low) and math.isfinite(one.high) and one.low <= one.high,
            f"legend[{name!r}] has a usual range of {one.low} to {one.high}",
            "give two finite numbers, the smaller one first",
        )
        require(
            one.low >= 0 or one.sign.strip(),
            f"legend[{name!r}] goes down to {one.low:g} and does not say what the sign means",
        )


def _named(environment: Environment, observations: Array) -> dict[str, FloatArray]:
    """`quantities`, with what is promised of names, shapes and types."""
    found, wanted = dict(environment.quantities(observations)), list(environment.legend)
    require(
        list(found) == wanted,
        f"quantities are {list(found)} and the legend has {wanted}",
        "name the same in both, in the same order",
    )
    for name, values in found.items():
        require(isinstance(values, np.ndarray), f"{name} is {type(values).__name__}, not an array")
        require(
            values.shape == (len(observations),),
            f"{name} has shape {values.shape} for {len(observations)} observations",
        )
        require(values.dtype == np.float64, f"{name} is {values.dtype}, not float64")
    return found


def _alike(one: dict[str, FloatArray], other: dict[str, FloatArray], problem: str) -> None:
    for name, values in one.items():
        # Sums of another batch size may be rounded differently, in single precision where observations are images.
        same = np.isclose(values, other[name], rtol=1e-5, atol=1e-5, equal_nan=True)
        if not same.all():
            worst = int(np.argmin(same))
            raise Broken(f"{problem}: {name} is {values[worst]:g} and {other[name][worst]:g}")


def _check_play(legend: Mapping[str, Quantity], found: dict[str, FloatArray]) -> str:
    """Ranges against what random play met; how many quantities had no value there."""
    silent = 0
    for name, values in found.items():
        met = values[:PLAYED][np.isfinite(values[:PLAYED])]
        if not len(met):
            silent += 1
            continue
        one = legend[name]
        slack = 0.01 * (one.high - one.low) + 1e-6
        inside = np.mean((met >= one.low - slack) & (met <= one.high + slack))
        require(
            inside >= LEAST_USUAL,
            f"{name} is usually {one.low:g} to {one.high:g} in the legend, {met.min():.3g} to {met.max():.3g} in play",
            "give the range in the unit of the quantity, as it is met in play",
        )
    require(silent < len(found), "in play not a single quantity has a value")
    return f"; {silent} without a value in {PLAYED} steps" if silent else ""


def check_segment_kind(environment: Environment, _: int) -> str:
    for rewards in (np.zeros(0), np.zeros(5), np.ones(1), -np.ones(3)):
        kind = environment.segment_kind(rewards)
        require(kind is None or (isinstance(kind, str) and kind.strip()), f"segment_kind({rewards}) is {kind!r}")
        plain_words(kind or "", "segment_kind")
    return "a word or None"


def check_expert(environment: Environment, _: int) -> str:
    need(environment, "expert")
    offered = environment.policies() if "policies" in capabilities(environment) else None
    if offered is not None and "expert" not in offered:
        raise Skip("its policy file is not installed")
    observations = np.stack(sample_observations(environment)[0])
    actions = np.asarray(environment.expert()(observations))
    require(len(actions) == len(observations), f"{len(actions)} actions for {len(observations)} observations")
    for action in actions:
        require(environment.action_space.contains(action), f"{action} is not an action")
    return f"{len(actions)} actions"


def check_reference_returns(environment: Environment, _: int) -> str:
    need(environment, "reference_returns")
    returns = environment.reference_returns
    require(np.isfinite([returns.random, returns.reference]).all(), f"not finite: {returns}")
    require(returns.reference > returns.random, f"the reference is no better than random play: {returns}")
    require(returns.source.strip(), "no source is given")
    return f"random {returns.random:g}, reference {returns.reference:g}"


def check_render(environment: Environment, _: int) -> str:
    need(environment, "render")
    with made(environment, 2) as envs:
        envs.reset(seed=[0, 1])
        frame = environment.render(envs, 1)
    require(frame.ndim == 3 and frame.shape[2] == 3, f"a frame has shape {frame.shape}")
    require(frame.dtype == np.uint8, f"a frame is {frame.dtype}")
    return f"{frame.shape[0]} x {frame.shape[1]} pixels"


def check_policies(environment: Environment, _: int) -> str:
    need(environment, "policies")
    policies = environment.policies()
    for name, path in policies.items():
        require(path.is_file(), f"{name!r} is to be at {path}, and there is no such file")
    return ", ".join(policies) or "none installed"
