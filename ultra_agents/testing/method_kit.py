"""Conformance kit for method plugins: `check_method(plugin)` says what the contract's promises are worth.

For plugin authors: run it in a test of yours and assert `report.ok`. A method is prepared on the corridor as a run
would prepare it, and trained for two updates. Where it needs what the corridor lacks, the rest is `skipped`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from ultra_agents.contracts import Method, Options, Policy, Prepared
from ultra_agents.contracts.environment import OPTIONAL
from ultra_agents.contracts.method import COLOURS
from ultra_agents.records import Variant
from ultra_agents.testing._method_trial import ADVISED, BUDGET, Trial, same_arrays
from ultra_agents.testing._report import Report, Skip, require, run_check

LONGEST = 100
"""Characters of `about` and `label`, which stand in one row of a table."""
UPDATES = 2
REMEDIES = {
    "words": "give name, label and about one line each; advice, colour and needs as the contract has them",
    "options": "derive Options from contracts.Options, with defaults",
    "missing": "call super().missing(terms) and add sentences; build and step nothing",
    "prepare": "return a Prepared whose start acts in the environment",
    "start": "train copies of setting.start, never the policy itself",
    "charge": "put every environment step taken into Prepared.spent, those of setting.trajectories and of "
    "setting.advised included where they are used, within terms.total_steps",
    "repeat": "take all randomness from setting.streams, and keep what was expensive with services.save",
    "train": "see contracts/modulation.py for what Prepared.modulation must answer",
    "resume": "put all that the modulation remembers into state(), in JSON types, and back in load_state()",
}
"""What to do when a check fails."""


def check_method(method: Method) -> Report:
    """Check a plugin against the contract.

    Args:
        method: The plugin, with the options it is to be checked with; short preparations make it quick.

    Returns:
        One row per check; nothing a plugin raises gets out.
    """
    with tempfile.TemporaryDirectory(prefix="ultra-method-") as name:
        trial = Trial(method, Path(name))
        checks: dict[str, Callable[[], str]] = {
            "words": partial(_words, method),
            "options": partial(_options, method),
            "missing": partial(_missing, trial),
            "prepare": partial(_prepare, trial),
            "start": partial(_start, trial),
            "charge": partial(_charge, trial),
            "repeat": partial(_repeat, trial),
            "train": partial(_train, trial),
            "resume": partial(_resume, trial),
        }
        rows = tuple(run_check(check, run, REMEDIES[check]) for check, run in checks.items())
    return Report(type(method).__name__, rows)


def _words(method: Method) -> str:
    for field in ("name", "label", "about"):
        value = getattr(method, field, None)
        require(
            isinstance(value, str) and 0 < len(value.strip()) <= LONGEST and "\n" not in value,
            f"{field} is {value!r}, not one line of at most {LONGEST} characters",
        )
    require(method.advice in (None, *get_args(Variant)), f"advice is {method.advice!r}, not None, 'a', 'r' or 'ra'")
    colour: Any = method.colour
    require(
        colour is None or (isinstance(colour, int) and 0 <= colour < COLOURS),
        f"colour is {colour!r}, not None or a number from 0 to {COLOURS - 1}",
    )
    for need in method.needs:
        require(need in OPTIONAL, f"needs {need!r}, which is no capability: {', '.join(OPTIONAL)}")
    require(method.trains or method.advice is None, "it does not train, and says that it uses advice")
    return f"{method.label}: {method.about}"


def _options(method: Method) -> str:
    cls, options = type(method).Options, method.options
    require(
        isinstance(cls, type) and issubclass(cls, Options), f"Options is {cls!r}, no subclass of contracts.Options"
    )
    require(isinstance(options, cls), f"options is {options!r}, not an instance of its Options")
    require(cls(**json.loads(options.model_dump_json())) == options, "options do not survive JSON")
    try:
        cls(**{**options.model_dump(), "no_such_option": 1})
    except ValidationError:
        return ", ".join(cls.model_fields) or "none"
    require(False, "an option nobody knows is taken without a word")
    return ""


def _missing(trial: Trial) -> str:
    terms, environment = trial.bare_terms()
    for asked in (trial.terms, terms):
        found = trial.method.missing(asked)
        require(
            isinstance(found, list) and all(isinstance(one, str) and one for one in found),
            f"missing gives {found!r}, not a list of sentences",
        )
    for need in trial.method.needs:
        require(any(need in one for one in found), f"an environment without {need!r} is not refused")
    require(environment.built == 0, "missing builds simulators, and should cost no environment step")
    return f"refuses an environment without {', '.join(trial.method.needs)}" if trial.method.needs else "needs nothing"


def _able(trial: Trial) -> None:
    lacks = trial.method.missing(trial.terms)
    if lacks:
        raise Skip(f"the corridor lacks something: {'; '.join(lacks)}")


def _prepared(trial: Trial, folder: str = "first") -> Prepared:
    _able(trial)
    prepared = trial.prepare(folder)[0]
    require(isinstance(prepared, Prepared), f"prepare gives {prepared!r}, not a Prepared")
    assert isinstance(prepared, Prepared)
    return prepared


def _prepare(trial: Trial) -> str:
    prepared = _prepared(trial)
    require(isinstance(prepared.start, Policy), f"start is {prepared.start!r}, no Policy")
    space = trial.environment.observation_space
    actions = prepared.start.act(np.zeros((3, *(space.shape or ())), space.dtype), np.random.default_rng(0))
    require(
        len(actions) == 3 and all(trial.environment.action_space.contains(one) for one in actions),
        f"start answers {actions!r} to three observations",
    )
    require(isinstance(prepared.note, str), f"note is {prepared.note!r}, not a line of text")
    for name, value in prepared.metrics.items():
        require(isinstance(value, int | float), f"the metric {name!r} is {value!r}, no number")
    return prepared.note or "nothing to tell"


def _start(trial: Trial) -> str:
    _prepared(trial)
    require(same_arrays(trial.start.state()[0], trial.weights), "the starting policy was changed")
    return "the starting policy is left alone"


def _charge(trial: Trial) -> str:
    _able(trial)
    prepared, taken = trial.prepare("charge")
    spent, counted = dict(prepared.spent), sum(taken.values())
    require(
        all(isinstance(steps, int | np.integer) and steps >= 0 for steps in spent.values()),
        f"spent is {spent!r}, not environment steps by purpose",
    )
    due = sum(ADVISED.values()) if trial.method.advice is not None else 0
    require(
        sum(spent.values()) >= counted + due,
        f"{counted + due} steps were taken, advice included, and {sum(spent.values())} are charged",
    )
    require(trial.method.trains or not spent, f"it does not train, and is charged {spent!r}")
    require(sum(spent.values()) <= BUDGET, f"{sum(spent.values())} steps are charged, of a budget of {BUDGET}")
    return f"{sum(spent.values()):,} of {BUDGET:,} steps: {', '.join(sorted(spent)) or 'nothing before training'}"


def _repeat(trial: Trial) -> str:
    first = _prepared(trial, "repeat")
    for folder, what in (("repeat", "when the run is taken up again"), ("again", "in another run of the same seed")):
        other = _prepared(trial, folder)
        require(same_arrays(first.start.state()[0], other.start.state()[0]), f"another policy to start from {what}")
        charged = dict(other.spent)
        require(dict(first.spent) == charged, f"{charged} is charged {what}, not {dict(first.spent)}")
        require(_state(first) == _state(other), f"another modulation {what}")
    return "comes out the same"


def _train(trial: Trial) -> str:
    if not trial.method.trains:
        raise Skip("it does not train")
    prepared = _prepared(trial)
    with trial.trainer(prepared) as trainer:
        for _ in range(UPDATES):
            trainer.update()
        observation = trial.environment.observation_space
        values = trainer.policy.value(np.zeros((1, *(observation.shape or ())), observation.dtype))
        require(np.isfinite(values).all(), "the policy is not finite after training")
    if prepared.modulation is not None:
        for name, value in prepared.modulation.metrics().items():
            require(isinstance(value, int | float), f"the modulation's metric {name!r} is {value!r}, no number")
    return f"{UPDATES} updates" + ("" if prepared.modulation is None else " under its modulation")


def _resume(trial: Trial) -> str:
    if not trial.method.trains:
        raise Skip("it does not train")
    prepared, other = _prepared(trial), _prepared(trial, "resume")
    if prepared.modulation is None or other.modulation is None:
        raise Skip("it has no modulation")
    with trial.trainer(prepared) as trainer:
        for _ in range(UPDATES):
            trainer.update()
        kept = json.loads(json.dumps(prepared.modulation.state()))
    with trial.trainer(other) as trainer:  # some tell their modulation of the environments here
        other.modulation.load_state(kept)
    require(json.loads(json.dumps(other.modulation.state())) == kept, "load_state does not bring back what state gave")
    return "the modulation goes on from its state"


def _state(prepared: Prepared) -> Any:
    return None if prepared.modulation is None else json.loads(json.dumps(prepared.modulation.state()))
