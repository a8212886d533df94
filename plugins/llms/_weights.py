"""Weights of the embedded model: from a path or from the Hugging Face hub, whole, and small enough to run here."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, NoReturn

from ultra_agents.contracts.llm import Unreachable
from ultra_agents.errors import ConfigError, LLMError, did_you_mean

HUB = "hf:"
_GIB = 2**30
_FORM = "hf:OWNER/REPOSITORY/FILE.gguf"


def hub_name(model: str) -> tuple[str, str]:
    """Repository and file of `hf:owner/repository/file.gguf`.

    Raises:
        ConfigError: It is not of that form.
    """
    owner, _, rest = model.removeprefix(HUB).partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file.endswith(".gguf")):
        raise ConfigError("options.model does not name a file on the hub", found=model, expected=_FORM)
    return f"{owner}/{repository}", file


def cached(model: str) -> Path | None:
    """Where an earlier download of `hf:...` lies, if there is one; nothing is sent."""
    repository, file = hub_name(model)
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None


def download(model: str) -> Path:
    """The file of `hf:...` in the hub's cache, downloaded if it is not there.

    Raises:
        Unreachable: The hub does not answer.
        LLMError: It has no such file, or keeps it from us; the package is not installed.
    """
    if (path := cached(model)) is not None:
        return path
    repository, file = hub_name(model)
    hub = _hub()
    hub.utils.disable_progress_bars()  # a display may own the terminal
    try:
        return Path(hub.hf_hub_download(repository, file, endpoint=os.environ.get("HF_ENDPOINT")))
    except Exception as error:
        _explain(error, model)


def find(model: str) -> None:
    """Ask the hub whether it has the file of `hf:...`, without downloading it; raises as `download` does."""
    repository, file = hub_name(model)
    hub = _hub()
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        hub.get_hf_file_metadata(hub.hf_hub_url(repository, file, endpoint=endpoint), endpoint=endpoint)
    except Exception as error:
        _explain(error, model)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise LLMError(
            "models from the hub need the package huggingface_hub",
            found=str(error),
            hint="pip install 'ultra-agents[hub]', or download the file and name its path",
        ) from None
    return huggingface_hub


def _explain(error: Exception, model: str) -> NoReturn:
    repository, file = hub_name(model)
    names = {cls.__name__ for cls in type(error).__mro__}
    where = os.environ.get("HF_ENDPOINT") or "the Hugging Face hub"
    said = " ".join(str(error).split())[:200]
    if "LocalEntryNotFoundError" not in names:
        if names & {"RepositoryNotFoundError", "GatedRepoError"}:
            raise LLMError(
                f"{where} has no repository {repository} for us",
                found=type(error).__name__,
                expected=_FORM,
                hint="check the name; for a gated or private one accept its terms and export HF_TOKEN=...",
            ) from None
        if "EntryNotFoundError" in names or "RemoteEntryNotFoundError" in names:
            there = _files(repository)
            raise LLMError(
                f"the repository {repository} has no file {file}",
                found=", ".join(there[:8]) or "no .gguf file at all",
                expected=_FORM,
                hint=did_you_mean(file, there),
            ) from None
    raise Unreachable(
        f"cannot download {model}",
        found=f"{type(error).__name__}: {said}",
        expected=f"an answer of {where}, or the file in the hub's cache",
        hint="go online once, name a mirror (export HF_ENDPOINT=...), "
        "or copy the file here and name its path: options.model: /path/to/file.gguf",
    ) from None


def _files(repository: str) -> list[str]:
    try:
        listed = _hub().HfApi(endpoint=os.environ.get("HF_ENDPOINT")).list_repo_files(repository)
        return sorted(name for name in listed if name.endswith(".gguf"))
    except Exception:  # only for the hint
        return []


def check_gguf(path: Path) -> None:
    """Refuse what is plainly no GGUF before llama.cpp sees it.

    Raises:
        LLMError: Unreadable, or something else.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise LLMError(f"cannot read the model {path}", found=str(error)) from error
    if magic != b"GGUF":
        raise LLMError(
            f"{path} is not a GGUF model",
            found=f"it begins with {magic!r}",
            expected="b'GGUF'",
            hint="download the .gguf file itself (not its web page or a git-lfs pointer)",
        )


def check_memory(path: Path, tokens: int = 0) -> None:
    """Refuse what cannot lie in memory: llama.cpp would read the weights from disk for every token.

    Args:
        path: The weights.
        tokens: Context of all slots together, in tokens, whose keys and values are kept beside them.

    Raises:
        LLMError: They need more than what this machine, or this container, has free.
    """
    weights, kept, free = path.stat().st_size, tokens * kept_per_token(path), available_memory()
    if free is not None and weights + kept > free:
        beside = f" and {kept / _GIB:.1f} GiB for {tokens} tokens of context" if kept else ""
        raise LLMError(
            f"the model {path.name} is too large for this machine",
            found=f"{weights / _GIB:.1f} GiB of weights{beside}, {free / _GIB:.1f} GiB of memory free",
            expected="a model and its context that fit into memory",
            hint="choose a smaller model or a stronger quantisation (Q4_K_M), lower options.context or options.slots, "
            "or move it to a GPU: options.gpu_layers",
        )


def kept_per_token(path: Path) -> int:
    """Bytes of keys and values (float16) per token of context; 0 where the file's header does not say.

    Not counted: the buffers of a computation, and models of a sliding window, which keep less than all.
    """
    head = _head(path)
    layers, heads, groups = (
        _number(head, key) for key in (".block_count", ".attention.head_count", ".attention.head_count_kv")
    )
    width, length = _number(head, ".embedding_length"), _number(head, ".attention.key_length")
    if not (layers and heads and width) or _number(head, ".attention.sliding_window"):
        return 0
    return 2 * 2 * layers * (groups or heads) * (length or width // heads)


def available_memory() -> int | None:
    """Bytes this process could still take, the container's limit included; None where the system does not say."""
    free: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free.append(1024 * int(line.split()[1]))
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            used = int((group / "memory.current").read_text()) - int(statistics.get("inactive_file", 0))
            free.append(int(most) - used)
    except (OSError, ValueError):
        pass
    return min(free, default=None)


def trained_context(path: Path) -> int | None:
    """The context length in tokens a GGUF's metadata names, None where it does not say."""
    return _number(_head(path), ".context_length")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def _number(head: bytes, key: str) -> int | None:
    """The positive 32-bit number a GGUF's metadata has for the architecture's `key`; None where there is none."""
    end = -1
    while (found := head.find(key.encode(), end + 1)) >= 0:
        end = found + len(key)
        if len(head) >= end + 8:
            kind, value = struct.unpack("<II", head[end : end + 8])
            if kind == 4 and value > 0:  # 4: uint32; anything else is a longer key, or a list
                return int(value)
    return None
