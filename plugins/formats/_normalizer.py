"""Stable-Baselines3's `VecNormalize` statistics (`vecnormalize.pkl`), read without running the pickle."""

from __future__ import annotations

import re
import reprlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.contracts.formats import Request
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from ._pickles import Call, Name, as_array, numpy_name, read_pickle

NAMES = ("vecnormalize.pkl", "vec_normalize.pkl", "vecnormalize.pickle")
_MAX_BYTES = 256 << 20
_MODULES = re.compile(
    r"(stable_baselines3\.common\.(vec_env\.(vec_normalize|base_vec_env)|running_mean_std)|(gymnasium|gym)\.spaces\.\w+"
    r"|(gymnasium|gym)\.utils\.seeding|numpy\.random(\.\w+)?)"
)


@dataclass(frozen=True, eq=False)
class Statistics:
    """How observations are normalised: clip((obs - mean) / sqrt(var + epsilon), -clip, clip).

    Attributes:
        mean: `(*observation_shape,)`.
        var: `(*observation_shape,)`.
        count: Observations they come from.
        epsilon: Added to the variance.
        clip: Bound of normalised observations.
        source: The file.
    """

    mean: Array
    var: Array
    count: float
    epsilon: float
    clip: float
    source: Path

    def normalize(self, observations: Array) -> Array:
        """Raw observations `(n, ...)` -> float32, as the tool itself does it."""
        scaled = (observations - self.mean) / np.sqrt(self.var + self.epsilon)
        return np.asarray(np.clip(scaled, -self.clip, self.clip), dtype=np.float32)


def named_normalizer(request: Request) -> Statistics | None:
    """The statistics in the file the user names, if any; raises `PolicyError`."""
    if not request.normalize or request.normalizer is None:
        return None
    return read_statistics(request.normalizer, request)


def find_normalizer(request: Request, wanted: str | None) -> Statistics | None:
    """The statistics a Stable-Baselines3 policy goes with; None where it takes observations as they are.

    Args:
        request: What is read, and the file the user names.
        wanted: Why the policy must have some, or None where nothing says so.

    Raises:
        PolicyError: The policy needs statistics and there are none, or they do not fit.
    """
    if not request.normalize:
        return None
    path = request.normalizer or next(_beside(request.path), None)
    if path is not None:
        return read_statistics(path, request)
    wanted = wanted or _training_said(request.path)
    if wanted is not None:
        raise PolicyError(
            f"the policy {request.path} acts on normalised observations, and the statistics are missing",
            found=wanted,
            expected=f"the file VecNormalize.save wrote, usually {NAMES[0]}, beside the policy or named",
            hint="--normalizer FILE; or --no-normalizer if only rewards were normalised",
        )
    return None


def read_statistics(path: Path, request: Request) -> Statistics | None:
    """The statistics in a file; None where it normalises rewards only. Raises `PolicyError`."""
    if not path.is_file():
        raise PolicyError(
            f"there is no normaliser {path}",
            found="a folder" if path.is_dir() else "nothing",
            expected="the file VecNormalize.save wrote",
        )
    if path.stat().st_size > _MAX_BYTES:
        raise PolicyError(
            f"{path} is too big for a normaliser",
            found=f"{path.stat().st_size:,} bytes",
            expected=f"at most {_MAX_BYTES:,}",
            hint="give the file VecNormalize.save wrote",
        )
    if path.suffix.lower() == ".npz":
        return _from_npz(path, request)
    state = _vec_normalize(path)
    if state.get("norm_obs") is False:
        return None
    try:
        inner = state["obs_rms"].state
        found = Statistics(
            as_array(inner["mean"]).astype(np.float64),
            as_array(inner["var"]).astype(np.float64),
            float(as_array(inner["count"])),
            float(as_array(state["epsilon"])),
            float(as_array(state["clip_obs"])),
            path,
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}"[:200]) from error
    _check(found, request)
    return found


def reward_scale(request: Request) -> float:
    """What the rewards a Stable-Baselines3 policy learnt from were divided by: its values are in this unit.

    1 where there is no `VecNormalize`, or it leaves rewards alone. Raises `PolicyError`.
    """
    path = (request.normalizer or next(_beside(request.path), None)) if request.normalize else None
    if path is None or path.suffix.lower() == ".npz":
        return 1.0
    state = _vec_normalize(path)
    if state.get("norm_reward") is not True:
        return 1.0
    try:
        variance, epsilon = (float(as_array(row)) for row in (state["ret_rms"].state["var"], state["epsilon"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}"[:200]) from error
    if not 0.0 < variance + epsilon < np.inf:
        raise PolicyError(
            f"the normaliser {path} holds statistics of rewards that cannot be",
            found=f"variance {variance}",
            expected="a finite variance above 0",
            hint="the file is damaged: use the one saved with an earlier checkpoint",
        )
    return float(np.sqrt(variance + epsilon))


def _vec_normalize(path: Path) -> dict[Any, Any]:
    """What a pickled `VecNormalize` holds, read without running it; raises `PolicyError`."""
    tree = read_pickle(path.read_bytes(), _allowed, path, "the normaliser")
    state = tree.state if isinstance(tree, Call) and isinstance(tree.function, Name) else None
    if not isinstance(state, dict) or tree.function.name != "VecNormalize":
        raise _unreadable(path, reprlib.repr(tree)[:80])
    return state


def _from_npz(path: Path, request: Request) -> Statistics:
    """`np.savez(path, mean=, var=)`, optionally with `count`, `epsilon` and `clip`: for tools that save none."""
    most = 64 * int(np.prod(request.observation_space.shape or (), dtype=object)) + (1 << 16)
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
        if size > most:
            raise ValueError(f"it unpacks to {size:,} bytes, where statistics of these observations need {most:,}")
        with np.load(path, allow_pickle=False) as file:
            row = {name: np.asarray(file[name], np.float64) for name in file.files[:16]}
        found = Statistics(
            row["mean"], row["var"], float(row.get("count", np.asarray(1.0))),
            float(row.get("epsilon", np.asarray(1e-8))), float(row.get("clip", np.asarray(10.0))), path,
        )  # fmt: skip
    except Exception as error:  # a damaged zip or array fails in many ways
        raise _unreadable(path, f"{type(error).__name__}: {error}"[:200]) from error
    _check(found, request)
    return found


def _check(found: Statistics, request: Request) -> None:
    wanted = request.observation_space.shape or ()
    if found.mean.shape != wanted or found.var.shape != wanted:
        raise PolicyError(
            f"the normaliser {found.source} is made for other observations",
            found=f"statistics of shape {found.mean.shape}",
            expected=f"{wanted}, as the environment gives them",
            hint="give the normaliser saved with this policy, or the environment it was trained in",
        )
    numbers = [found.mean, found.var, np.asarray([found.epsilon, found.clip, found.count])]
    if not all(np.isfinite(row).all() for row in numbers) or found.var.min(initial=0.0) < 0 or found.clip <= 0:
        raise PolicyError(
            f"the normaliser {found.source} holds statistics that cannot be",
            found="numbers that are not finite, a negative variance, or a bound that is not positive",
            expected="finite numbers",
            hint="the file is damaged: use the one saved with an earlier checkpoint",
        )


def _beside(path: Path) -> Iterator[Path]:
    """Where training scripts leave the statistics: beside the policy, or as rl-baselines3-zoo lays it out."""
    stem = path.stem
    steps = re.search(r"_(\d+)_steps$", stem)
    folders = [path.parent, path.parent / stem, *sorted(p for p in path.parent.glob("*/") if _zoo(p))]
    names = [f"{stem}_vecnormalize.pkl", f"{stem}.pkl", *NAMES]
    if steps:
        names.insert(0, f"{stem[: steps.start()]}_vecnormalize_{steps[1]}_steps.pkl")
    for folder in folders:
        yield from (folder / name for name in names if (folder / name).is_file())


def _zoo(folder: Path) -> bool:
    return (folder / "config.yml").is_file() and (folder / "args.yml").is_file()


def _training_said(path: Path) -> str | None:
    """What a `config.yml` of rl-baselines3-zoo says of normalising observations, if it does.

    Read as text: such files are YAML that asks for Python objects.
    """
    for config in [path.parent / path.stem / "config.yml", *sorted(path.parent.glob("*/config.yml"))]:
        if not config.is_file() or config.stat().st_size > 1 << 20:
            continue
        text = config.read_text(encoding="utf-8", errors="replace")
        hit = re.search(r"^[\s-]*normalize\b(?!_)\s*:?\s*\n?[\s-]*(.+)$", text, re.MULTILINE)
        if hit and hit[1].strip().strip("'\"").lower() not in ("false", "null", "none", "~"):
            if re.search(r"norm_obs['\"]?\s*[:=]\s*false", hit[1], re.IGNORECASE):
                return None
            return f"normalize: {hit[1].strip()[:60]} in {config}"
    return None


def _allowed(name: Name) -> bool:
    plain = (name.module, name.name) == ("collections", "OrderedDict")
    return plain or numpy_name(name) or _MODULES.fullmatch(name.module) is not None


def _unreadable(path: Path, found: Any) -> PolicyError:
    return PolicyError(
        f"{path} is not a normaliser",
        found=found,
        expected="the file VecNormalize.save wrote, or an .npz with mean and var",
        hint="give the file saved with the policy, or save it again with its own Stable-Baselines3",
    )
