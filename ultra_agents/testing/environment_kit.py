"""Conformance kit for environment plugins: `check_environment(plugin)` says what the contract's promises are worth.

For plugin authors: run it in a test of yours and assert `report.ok`. Optional capabilities a plugin does not offer are
`skipped`; so is what could not be observed (no episode ended within the steps allowed).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ultra_agents.contracts import Environment
from ultra_agents.testing import _environment_ask as ask
from ultra_agents.testing import _environment_play as play
from ultra_agents.testing._report import Report, Row, run_until_blocked

__all__ = ["Report", "Row", "check_environment"]


def check_environment(environment: Environment, max_steps: int = 3000) -> Report:
    """Check a plugin against the contract.

    Args:
        environment: The plugin, with the options it is to be checked with.
        max_steps: Vector steps a check may take to see an episode end.

    Returns:
        One row per check; nothing a plugin raises gets out.
    """
    try:
        subject = str(environment.env_id)
    except Exception:
        subject = type(environment).__name__
    checks = ((name, partial(check, environment, max_steps), do) for name, (check, do) in _CHECKS.items())
    return Report(subject, run_until_blocked(checks))


_CHECKS: dict[str, tuple[Callable[[Environment, int], str], str]] = {
    "identity": (
        ask.check_identity,
        "give the class an env_id, and an Options model derived from ultra_agents.contracts.Options",
    ),
    "brief": (ask.check_brief, "write every part of the brief in a few plain sentences and explain every action name"),
    "spaces": (
        play.check_spaces,
        "make() must build exactly what observation_space and action_space announce, in AutoresetMode.SAME_STEP",
    ),
    "autoreset": (
        play.check_autoreset,
        "when an episode ends, return the next one's first observation and put the last into info['final_obs']",
    ),
    "seeding": (play.check_seeding, "draw everything from one generator per environment, made new by reset(seed=...)"),
    "determinism": (play.check_determinism, "draw from the environment's own generator only, never a global one"),
    "independence": (play.check_independence, "let nothing of one environment depend on its neighbours"),
    "workers": (play.check_workers, "keep simulators, locks and lambdas out of the plugin's attributes"),
    "describe": (
        ask.check_describe,
        "describe() must give one short line for every observation of its space; np.nan_to_num and np.clip help",
    ),
    "actions": (ask.check_actions, "encode and decode must be inverse, and every action must decode to a known name"),
    "features": (ask.check_features, "return finite floats (n, k), row by row, each column of scale about 1"),
    "quantities": (
        ask.check_quantities,
        "return the legend's names, (n,) float64 each, row by row, finite or NaN; contracts.quantities.columns helps",
    ),
    "segment_kind": (ask.check_segment_kind, "return a word, or None for a generic one"),
    "close": (play.check_close, "let close() pass when there is nothing left to close"),
    "snapshot": (
        play.check_snapshot,
        "put everything into the snapshot: physics, step counter, generator, wrappers; or offer none",
    ),
    "expert": (ask.check_expert, "return one valid action per observation"),
    "reference_returns": (ask.check_reference_returns, "measure both returns, and say how in `source`"),
    "render": (ask.check_render, "return (height, width, 3) of uint8"),
    "policies": (ask.check_policies, "ship the files as package data, or leave the name out"),
}
