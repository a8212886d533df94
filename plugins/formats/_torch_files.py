"""Files of `torch.save` as numpy arrays, without torch and without running the pickle in them.

Since torch 1.6 such a file is a zip: `data.pkl` names the tensors, `data/0`, `data/1`, ... hold their raw numbers.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.contracts.formats import check_finite
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from ._pickles import Call, Name, Persistent, numpy_name, read_pickle

MAX_BYTES = 1 << 30
"""What a policy file may hold unpacked; the largest convolutional policies have a few megabytes."""
MAX_RATIO = 200
"""How much smaller than its content a packed member larger than a mebibyte may be: weights hardly pack at all."""

_LEGACY = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""The magic number near the beginning of every file of torch before 1.6."""
_STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "b1",
}  # fmt: skip
_NAMES = {
    ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_tensor"), *(("torch", name) for name in _STORAGES),
}  # fmt: skip


class Members:
    """The members of a zip, read within bounds.

    Args:
        path: The file, for messages.
        data: Its bytes where it lies inside another; None reads `path`.

    Raises:
        PolicyError: No zip, or one that unpacks to an absurd size.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        self.path = path
        if data is not None and _LEGACY in data[:32]:
            raise PolicyError(
                f"the weights in {path} are in the layout of torch before 1.6, which is not read here",
                found="one pickle with raw numbers behind it; it is old, not damaged",
                expected="the zip layout that torch.save writes since 1.6",
                hint="load it and save it again with torch 1.6 or newer (model = PPO.load(...); model.save(...)); "
                "or, if you made it yourself, --trust lets Stable-Baselines3 load it",
            )
        try:
            self._zip = zipfile.ZipFile(path if data is None else io.BytesIO(data))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise self._damaged(error) from error
        rows = self._zip.infolist()
        total = sum(row.file_size for row in rows)
        packed = [row for row in rows if row.file_size > 1 << 20 and row.file_size > MAX_RATIO * row.compress_size]
        if total > MAX_BYTES or packed:
            raise PolicyError(
                f"{path} unpacks to an absurd size, so it was not unpacked",
                found=f"{total:,} bytes in {len(rows)} members"
                + (f", {packed[0].filename[:60]!r} packed {MAX_RATIO}-fold and more" if packed else ""),
                expected=f"at most {MAX_BYTES:,} bytes of weights",
                hint="this is no policy file: get it from another source",
            )
        self.names = [row.filename for row in rows]

    def read(self, name: str) -> bytes:
        """A member's bytes; raises `PolicyError` when it is missing or damaged."""
        try:
            return self._zip.read(name)
        except KeyError as error:
            raise PolicyError(
                f"{self.path} is incomplete",
                found=f"members: {', '.join(self.names)[:200] or 'none'}",
                expected=f"a member {name!r}",
                hint="copy or save it again",
            ) from error
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
            raise self._damaged(error) from error
        except Exception as error:  # zlib.error and its like have no common base
            raise self._damaged(error) from error

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _damaged(self, error: Exception) -> PolicyError:
        return PolicyError(
            f"{self.path} cannot be unpacked: it is damaged, cut short, or something else",
            found=f"{type(error).__name__}: {error}"[:200],
            expected="a complete zip file",
            hint="copy or save it again",
        )


def is_torch_zip(path: Path) -> bool:
    """Whether `path` is a zip as `torch.save` makes it, and no TorchScript archive.

    A Stable-Baselines3 zip that is cut short may end with the whole torch file within it, which then seems to be all.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.partition("/")[2] for name in file.namelist()}
            begins = min((info.header_offset for info in file.infolist()), default=0)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return begins == 0 and "data.pkl" in names and "constants.pkl" not in names


def read_tensors(path: Path, data: bytes | None = None, whose: str = "the weights") -> dict[str, Array]:
    """The tensors of a saved state dictionary, by name.

    Args:
        path: The file, for messages.
        data: Its bytes where it lies inside another; None reads `path`.
        whose: What it is in that file, for messages.

    Raises:
        PolicyError: Damaged, cut short, absurdly big, not finite, no state dictionary, or it would run code.
    """
    members = Members(path, data)
    try:
        pickles = [name for name in members.names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise PolicyError(
                f"{whose} of {path} are not in the layout of torch 1.6 and newer",
                found=f"members: {', '.join(members.names)[:200]}",
                expected="data.pkl and raw storages",
                hint="load and save it again with a newer torch",
            )
        prefix = pickles[0].removesuffix("data.pkl")
        order = members.read(f"{prefix}byteorder").strip() if f"{prefix}byteorder" in members.names else b"little"
        tree = read_pickle(members.read(pickles[0]), _allowed, path, whose)
        storages: dict[str, Array] = {}
        found: dict[str, Array] = {}
        for name, value in _entries(tree).items():
            if _is_tensor(value):
                found[_bare(str(name))] = _tensor(value, members, prefix, ">" if order == b"big" else "<", storages)
    except PolicyError:
        raise
    except Exception as error:
        raise PolicyError(
            f"{whose} of {path} do not describe tensors",
            found=f"{type(error).__name__}: {error}"[:200],
            expected="a state dictionary: names and tensors",
            hint="save the policy again, with torch.save(policy.state_dict(), path)",
        ) from error
    finally:
        members.close()
    if not found:
        raise PolicyError(
            f"{whose} of {path} hold no tensors",
            found=type(tree).__name__,
            expected="a state dictionary: names and tensors",
            hint="save it with torch.save(policy.state_dict(), path)",
        )
    check_finite(path, found)
    return found


def _allowed(name: Name) -> bool:
    return (name.module, name.name) in _NAMES or numpy_name(name)


def _entries(tree: Any) -> dict[Any, Any]:
    """The top-level dictionary; one nested below a usual key where the file is a whole checkpoint."""
    rows = tree.items if isinstance(tree, Call) else tree
    if not isinstance(rows, dict):
        raise ValueError(f"no dictionary but {type(tree).__name__}")
    for key in ("model_weights", "state_dict", "model_state_dict", "agent_state_dict", "policy_state_dict", "model",
                "agent", "policy"):  # fmt: skip
        inner = rows.get(key)
        if isinstance(inner, Call) and inner.items:
            return inner.items
        if isinstance(inner, dict) and inner:
            return inner
    return rows


def _bare(name: str) -> str:
    """A tensor's name without what torch.compile and data parallelism put before and into it."""
    parts = name.split(".")
    return ".".join(part for i, part in enumerate(parts) if part != "_orig_mod" and not (part == "module" and i < 2))


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, Call)
        and isinstance(value.function, Name)
        and value.function.name in ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter")
    )


def _tensor(value: Call, members: Members, prefix: str, order: str, storages: dict[str, Array]) -> Array:
    assert isinstance(value.function, Name)
    if value.function.name == "_rebuild_parameter":
        inner = value.args[0]
        if not _is_tensor(inner) or inner.function.name == "_rebuild_parameter":
            raise ValueError("a parameter without its tensor")
        return _tensor(inner, members, prefix, order, storages)
    storage, offset, size, stride = value.args[:4]
    if not isinstance(storage, Persistent) or storage.key[0] != "storage":
        raise ValueError("a tensor without a storage")
    _, kind, key, _, numel = storage.key
    name = _STORAGES[kind.name]
    if str(key) not in storages:
        storages[str(key)] = _storage(members, f"{prefix}data/{key}", name, order, int(numel))
    flat, shape, steps = storages[str(key)], [int(n) for n in size], [int(n) for n in stride]
    last = int(offset) + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    count = int(np.prod(shape, dtype=object))
    if min([int(offset), *shape, *steps], default=0) < 0 or (count and last >= len(flat)) or count > len(flat):
        raise ValueError(f"a tensor {tuple(shape)} that does not lie within its {len(flat):,} numbers")
    bytewise = [step * flat.itemsize for step in steps]
    return np.lib.stride_tricks.as_strided(flat[int(offset) :], shape, bytewise).copy()


def _storage(members: Members, name: str, kind: str, order: str, numel: int) -> Array:
    data = members.read(name)
    wide = np.dtype("u2" if kind == "bf16" else kind)
    if len(data) != numel * wide.itemsize:
        raise PolicyError(
            f"the weights of {members.path} are cut short",
            found=f"{len(data):,} bytes in {name}",
            expected=f"{numel * wide.itemsize:,} bytes",
            hint="copy or save it again",
        )
    row = np.frombuffer(data, dtype=np.dtype(f"{order}{wide.str[1:]}"))
    if kind == "bf16":
        return np.asarray((row.astype(np.uint32) << 16).view(np.float32))
    return row.astype(wide)
