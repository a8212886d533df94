"""Checks of the environment kit that ask: words, names, features, and what is optional."""

from __future__ import annotations

import copy
import pickle

import gymnasium
import numpy as np

from ultra_agents.contracts import Environment, Options, capabilities
from ultra_agents.testing._environment_play import (
    Broken,
    Skip,
    made,
    need,
    random_actions,
    require,
    sample_observations,
)

LONGEST_DESCRIPTION = 600


def check_identity(environment: Environment, _: int) -> str:
    options = type(environment).Options
    require(issubclass(options, Options), f"Options is {options}, not a subclass of contracts.Options")
    require(options.model_config.get("extra") == "forbid", "Options let unknown keys pass")
    require(isinstance(environment.env_id, str) and environment.env_id.strip(), "env_id is empty")
    pickle.dumps(environment)  # it travels to workers; what arrives there is made as `copy` makes it
    twin = copy.deepcopy(environment)
    require(twin.env_id == environment.env_id, "a copy has another env_id")
    return f"{environment.env_id}, picklable"


def check_brief(environment: Environment, _: int) -> str:
    brief = environment.brief
    for part in ("goal", "dynamics", "actions", "reward", "termination"):
        require(getattr(brief, part).strip(), f"brief.{part} is empty")
    for name in environment.actions.names:
        require(name in brief.actions, f"brief.actions does not explain {name!r}")
    return f"{sum(len(str(part).split()) for part in vars(brief).values())} words"


def check_describe(environment: Environment, _: int) -> str:
    observations, info = sample_observations(environment)
    longest = 0
    for observation in observations:
        text = environment.describe(observation, info)
        require(isinstance(text, str) and text.strip(), f"describe({observation}) is {text!r}")
        require(len(text) < LONGEST_DESCRIPTION, f"describe({observation}) has {len(text)} characters")
        require(all(character.isprintable() for character in text), f"{text!r} holds control characters")
        words = text.lower().replace(",", " ").replace(".", " ").split()
        require("nan" not in words and "inf" not in words, f"describe({observation}) says {text!r}")
        longest = max(longest, len(text.split()))
    return f"{len(observations)} observations, at most {longest} words"


def check_actions(environment: Environment, _: int) -> str:
    codec, space = environment.actions, environment.action_space
    require(codec.names, "no action has a name")
    require(len(set(codec.names)) == len(codec.names), f"a name is there twice: {codec.names}")
    for name in codec.names:
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
    return f"{features.shape[1]} columns"


def check_segment_kind(environment: Environment, _: int) -> str:
    for rewards in (np.zeros(0), np.zeros(5), np.ones(1), -np.ones(3)):
        kind = environment.segment_kind(rewards)
        require(kind is None or (isinstance(kind, str) and kind.strip()), f"segment_kind({rewards}) is {kind!r}")
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
