"""What a Stable-Baselines3 zip says it was trained with, as options of the algorithms that may train it on.

Only what the zip holds as plain JSON: `train_freq` and schedules written as functions are pickles, and left alone.
"""

from __future__ import annotations

import math
import re
from typing import Any

_COMMON = ("gamma", "max_grad_norm")
_ON_POLICY = (*_COMMON, "n_steps", "gae_lambda", "ent_coef", "vf_coef", "normalize_advantage")
_REPLAY = ("gamma", "buffer_size", "learning_starts", "batch_size", "tau", "gradient_steps", "n_steps")
_NAMES: dict[str, tuple[str, ...]] = {
    "ppo": (*_ON_POLICY, "batch_size", "n_epochs", "target_kl"),
    "a2c": _ON_POLICY,
    "trpo": ("gamma", "gae_lambda"),
    "sac": (*_REPLAY, "ent_coef", "target_entropy", "target_update_interval"),
    "td3": (*_REPLAY, "policy_delay", "target_policy_noise", "target_noise_clip"),
    "dqn": (
        *_REPLAY, "max_grad_norm", "target_update_interval", "exploration_fraction", "exploration_initial_eps",
        "exploration_final_eps",
    ),
}  # fmt: skip
_RATES = {"ppo": ("learning_rate", "clip_range", "clip_range_vf")}
_LINEAR = re.compile(r"LinearSchedule\(start=([^,]+), end=0(?:\.0)?, end_fraction=1(?:\.0)?\)")
_CONSTANT = re.compile(r"ConstantSchedule\(val=([^,)]+)\)")


def settings(data: dict[str, Any], kind: str) -> dict[str, Any]:
    """Numbers and words a zip's JSON gives, under SB3's names; rates that fall linearly to 0 as `lin_3e-4`."""
    found = {name: data[name] for name in (*_NAMES[kind], "n_envs") if _plain(data.get(name))}
    for name in _RATES.get(kind, ("learning_rate",)):
        rate = _rate(data.get(name))
        if rate is not None:
            found[name] = rate
    return found


def as_sb3(found: dict[str, Any]) -> dict[str, Any]:
    """As options of `sb3-*`, which have SB3's names.

    Without `exploration_initial_eps`: refining starts from the policy's own actions, not from random ones again.
    """
    return {name: value for name, value in found.items() if name not in ("n_envs", "exploration_initial_eps")}


def as_native(found: dict[str, Any], kind: str) -> dict[str, Any]:
    """As options of the native `ppo` or `sac`, as far as they mean the same there.

    A2C and TRPO have only the discount and lambda in common with PPO. `target_kl` stays out: SB3 stops at 1.5 times
    it, and without one the native guard stays up.
    """
    shared = ("gamma", "gae_lambda")
    options: dict[str, Any] = {name: found[name] for name in shared if name in found}
    rate = found.get("learning_rate")
    number = float(str(rate).removeprefix("lin_")) if rate is not None else None
    if kind in ("a2c", "trpo"):
        return options
    if kind == "sac":
        options |= {name: found[name] for name in ("tau", "batch_size", "buffer_size") if name in found}
        options |= (
            {} if isinstance(found.get("target_entropy", "auto"), str) else {"target_entropy": found["target_entropy"]}
        )
        options |= {} if isinstance(found.get("ent_coef", "auto"), str) else {"tune_alpha": False}
        return options | ({} if number is None or rate != number else {"learning_rate": number})
    names = {
        "n_steps": "num_steps",
        "n_epochs": "update_epochs",
        "ent_coef": "ent_coef",
        "max_grad_norm": "max_grad_norm",
    }
    options |= {ours: found[theirs] for theirs, ours in names.items() if theirs in found}
    if number is not None:
        options |= {"learning_rate": number, "anneal_lr": rate != number}
    if isinstance(found.get("clip_range"), float):
        options["clip_coef"] = found["clip_range"]
    if "vf_coef" in found:
        options["vf_coef"] = 2.0 * found["vf_coef"]  # SB3's value loss is not halved
    if {"n_steps", "n_envs", "batch_size"} <= set(found) and found["batch_size"] > 0:
        options["num_minibatches"] = max(int(found["n_steps"] * found["n_envs"] // found["batch_size"]), 1)
    return options


def _plain(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"auto(_[\d.e-]+)?", value) is not None
    return isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value))


def _rate(value: Any) -> float | str | None:
    """A number, or what the text beside a pickled schedule says."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    if not isinstance(value, dict):
        return None
    if "LinearSchedule" in str(value.get(":type:")):
        start, end, fraction = (value.get(name) for name in ("start", "end", "end_fraction"))
        text = f"LinearSchedule(start={start}, end={end}, end_fraction={fraction})"
    else:
        text = str(value.get("value_schedule"))
    for pattern, make in ((_LINEAR, "lin_{}".format), (_CONSTANT, float)):
        hit = pattern.fullmatch(text)
        if hit is not None:
            try:
                return make(float(hit[1]))
            except ValueError:
                return None
    return None
