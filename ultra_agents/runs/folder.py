"""The run folder: one place per stage's result, written completely or not at all, resumable.

```
config.yaml        the resolved configuration (no secrets)     versions.json   packages and plugins
trajectories/      collected episodes                          transcript.jsonl every model call
explain.sqlite     where the explaining stopped                advice.jsonl    the accepted advice
checkpoints/       *.safetensors                               metrics.jsonl   one line per training update
tensorboard/       the same, where `tensorboard` is installed  events.jsonl    everything a display was told
state.json         which stages are finished                   .lock           who runs it now
played.json        evaluation episodes, by policy              report.html, report.json
notes.jsonl        a person's notes, and who read them
output.log         what plugins print, if anything            calls.jsonl     model calls, noted before they are made
parent.json        of a fork: the run it comes from
```
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra_agents.errors import ConfigError, RunError
from ultra_agents.files import lives, sweep, write_whole
from ultra_agents.runs.files import LineLog, flat, locked, made_with, plain, read_lines, refuse_links
from ultra_agents.runs.inputs import differences, read_elsewhere, with_absolute_paths
from ultra_agents.runs.lineage import Parent, read_parent
from ultra_agents.text import parsed_json

if TYPE_CHECKING:  # imports gymnasium: too slow for `ultra --help`
    from ultra_agents.config import Config

__all__ = ["FORMAT", "RunFolder", "read_lines"]

_OWN = re.compile(r"trajectories|checkpoints|tensorboard|.+\.(yaml|jsonl?|html|log|sqlite(-wal|-shm|-journal)?)")
"""Names in a run folder that are written to."""
FORMAT = 2
"""Version of the folder's layout; folders of another one are refused."""


class RunFolder:
    """One run on disk; made by `create` or `open`.

    Attributes:
        path: The folder.
        config: Its resolved configuration.
        config_path: The resolved configuration's file.
        versions_path: Versions of Python, packages and plugin distributions at creation, and the processor.
        trajectories: Folder of collected episodes.
        transcript: Every model call, one JSON object a line.
        cache: The model-answer cache, where the configuration names no other.
        explain: Checkpoints of the explaining graph (SQLite).
        advice: The accepted advice, one JSON object a line.
        checkpoints: Folder of policies and trainer states.
        metrics: Training metrics, one JSON object per update and method.
        tensorboard: Folder of TensorBoard event files, one folder per method.
        events: All events, one JSON object a line.
        report_html: The report to read.
        report_json: The report's numbers.
    """

    def __init__(self, path: Path, config: Config, state: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.config_path = path / "config.yaml"
        self.versions_path = path / "versions.json"
        self.trajectories = path / "trajectories"
        self.transcript = path / "transcript.jsonl"
        self.cache = path / "llm-cache.sqlite"
        self.explain = path / "explain.sqlite"
        self.advice = path / "advice.jsonl"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.events = path / "events.jsonl"
        self.report_html = path / "report.html"
        self.report_json = path / "report.json"
        self._state = state
        self._log = LineLog(self.events)
        self._writing = threading.RLock()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r}, done={list(self.done)})"

    @classmethod
    def create(cls, root: Path, config: Config, fill: Callable[[RunFolder], None] | None = None) -> RunFolder:
        """Make `root/<config.name>`; it appears with its first files in it or not at all.

        Paths in the configuration become absolute, so that the run resumes from any working directory.

        Args:
            root: Folder of runs.
            config: The run's configuration.
            fill: Puts further files and finished stages in, before the folder appears.

        Raises:
            RunError: The name is taken, or the folder cannot be written.
        """
        path = root / config.name
        if path.exists():
            raise _taken(path)
        config = with_absolute_paths(config)
        kept = {"config_hash": config.hash(), "config_keys": _keys(config), "inputs": read_elsewhere(config)}
        state: dict[str, Any] = {"format": FORMAT, "id": uuid.uuid4().hex, **kept, "carried": None, "done": {}}
        draft: Path | None = None
        try:
            root.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{config.name}-{os.getpid()}-", dir=root))
            draft.chmod(0o755)
            made = cls(draft, config, state)
            for folder in (made.trajectories, made.checkpoints):
                folder.mkdir()
            made.write_text("config.yaml", config.to_yaml())
            made.write_json("versions.json", made_with())
            made.write_json("state.json", state)
            if fill is not None:
                fill(made)
            draft.rename(path)
        except (OSError, RunError) as error:
            if draft is not None:
                shutil.rmtree(draft, ignore_errors=True)
            if path.exists():
                raise _taken(path) from error  # another process made it meanwhile
            if isinstance(error, RunError) and not isinstance(error.__cause__, OSError):
                raise  # what `fill` reads is damaged
            raise RunError(
                f"cannot make the run folder {path}",
                found=error.found if isinstance(error, RunError) else str(error),
                expected="a place that can be written",
                hint="make room, or choose another place with --runs DIR",
            ) from error
        return cls(path, config, state)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Take up an existing run folder.

        Raises:
            RunError: Not a run folder, made by a newer version, or damaged.
        """
        from ultra_agents.config import load_config

        if not path.is_dir():
            there = sorted(other.name for other in path.parent.glob("*") if (other / "state.json").is_file())
            raise RunError(
                f"there is no run folder {path}",
                expected=f"one of: {', '.join(there)}" if there else None,
                hint="start one: ultra run CONFIG.yaml",
            )
        if not (path / "state.json").is_file():
            raise RunError(f"{path} is not a run folder", expected="a folder made by `ultra run`, with a state.json")
        try:
            state = parsed_json((path / "state.json").read_bytes())
            form = int(state["format"])
            if not isinstance(state["done"], dict):
                raise TypeError("`done` is not a mapping")
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise RunError(
                f"{path / 'state.json'} is damaged",
                found=f"{type(error).__name__}: {error}",
                hint="start the run again under another --name",
            ) from error
        if form > FORMAT:
            raise RunError(
                f"{path} was made by a newer ultra-agents",
                found=f"run folder format {form}",
                expected=f"format {FORMAT} or older",
                hint="pip install --upgrade ultra-agents",
            )
        if form < FORMAT:
            raise RunError(
                f"{path} was made by an older ultra-agents, whose run folders this version does not read",
                found=f"run folder format {form}",
                expected=f"format {FORMAT}",
                hint=f"its report is still there ({path / 'report.html'}); to go on, start the configuration again "
                f"under another name: ultra run {path / 'config.yaml'} --name {path.name}-2",
            )
        try:
            config = load_config(path / "config.yaml")
        except ConfigError as error:
            raise RunError(
                f"the configuration of {path} is damaged",
                found=str(error.problem) + (f": {error.found}" if error.found else ""),
                expected=error.expected,
                hint=error.hint if "has no key" in error.problem else f"restore {path / 'config.yaml'}",
            ) from error
        _check_complete(path / "config.yaml", state.get("config_keys"))
        return cls(path, config, state)

    @property
    def name(self) -> str:
        """Name of the run: the folder's."""
        return self.path.name

    def checkpoint(self, name: str) -> Path:
        """File of the checkpoint called `name`."""
        return self.checkpoints / f"{name}.safetensors"

    # -- writing -----------------------------------------------------------------------------------------------

    def write_text(self, name: str | Path, text: str) -> Path:
        """Write `name`, a name within the folder or one of its paths, completely or not at all.

        Raises:
            RunError: It cannot be written (disk full, read-only).
        """
        target = Path(name) if Path(name).is_relative_to(self.path) else self.path / name
        try:
            write_whole(target, text)
        except OSError as error:
            raise RunError(
                f"cannot write {target}", found=str(error), hint=f"make room, then: ultra resume {self.path}"
            ) from error
        return target

    def write_json(self, name: str | Path, value: Any) -> Path:
        """Write `value` as JSON; numbers that are not finite become null."""
        return self.write_text(name, json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n")

    def append_event(self, row: dict[str, Any]) -> None:
        """Add one line to `events.jsonl`, on disk when this returns; safe from any thread."""
        self._log.append(row)

    def close(self) -> None:
        """Close the event log; the next event opens it again."""
        self._log.close()

    # -- stages ------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Tells this run from every other, of whatever name and machine, in a database that they share."""
        return str(self._state["id"])

    @property
    def parent(self) -> Parent | None:
        """The run that this one was forked from; raises a `RunError` where that cannot be read."""
        return read_parent(self.path)

    @property
    def done(self) -> tuple[str, ...]:
        """Names of the finished stages, in the order they finished."""
        return tuple(self._state["done"])

    def stage_done(self, name: str) -> dict[str, Any] | None:
        """What `mark_done` stored for this stage, or None while it is not finished."""
        payload: dict[str, Any] | None = self._state["done"].get(name)
        return payload

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Read back what `stage_done` has of a stage; what is wrong with it becomes a `RunError`."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            raise RunError(
                f"{self.path / 'state.json'} is damaged: the value of the stage {name!r} cannot be read",
                found=f"{type(error).__name__}: {error}"[:300],
                expected="what this version wrote",
                hint=f"restore the file; or start again: ultra run {self.config_path} --name {self.name}-2",
            ) from error

    def mark_done(self, name: str, payload: dict[str, Any] | None = None) -> None:
        """Remember that a stage is finished, with the JSON-able `payload` a resumed run needs of it."""
        with self._writing:
            self._state["done"][name] = json.loads(json.dumps(plain(payload or {}, finite=False)))
            self._save_state()

    def revise(self, values: Mapping[str, Any]) -> None:
        """Put other JSON-able values in the place of what finished stages made, all at once or not at all."""
        with self._writing:
            done = dict(self._state["done"])
            for name, value in values.items():
                done[name] = {**done[name], "value": json.loads(json.dumps(plain(value, finite=False)))}
            self.write_text("state.json", json.dumps({**self._state, "done": done}, indent=1) + "\n")
            self._state["done"] = done

    @property
    def carried(self) -> dict[str, Any] | None:
        """The settings that the starting policy's file carried when the run began; None before they were read.

        Empty for a run of a version whose policy files carried none: it goes on as it began.
        """
        found: dict[str, Any] | None = self._state.get("carried", {})
        return found

    def keep_carried(self, found: dict[str, Any]) -> None:
        """Remember what `carried` is, whatever becomes of the policy's file; JSON types."""
        with self._writing:
            self._state["carried"] = json.loads(json.dumps(found))
            self._save_state()

    @property
    def config_changed(self) -> bool:
        """`config.yaml` is not what the run began with: finished stages keep results of the old one."""
        return bool(self._state.get("config_hash") != self.config.hash())

    def differs_from(self, config: Config) -> list[str]:
        """What sets this run apart from `config`, a sentence each, files by content; none where nothing does."""
        began, advised = self._state.get("inputs"), "narrate" in self.done
        return differences(self.config, began if isinstance(began, dict) else {}, with_absolute_paths(config), advised)

    def go_on_with(self, config: Config) -> None:
        """Take over from `config`, where nothing differs, the places of files and what no number depends on.

        Raises:
            RunError: `config.yaml` or `state.json` cannot be written.
        """
        config = with_absolute_paths(config)
        if config != self.config:
            self._rewrite(config)

    def amend(self, overrides: Sequence[str]) -> None:
        """Change the spending caps (`gateway.budget.tokens=...`) of a run that is to go on.

        Raises:
            ConfigError: Another key is named (its results would no longer belong together), or a bad value.
        """
        from ultra_agents.config import load_config

        for override in overrides:
            if not override.startswith("gateway.budget."):
                raise ConfigError(
                    f"--set {override} cannot change a run that has begun",
                    expected="gateway.budget.calls, gateway.budget.tokens or gateway.budget.money",
                    hint="start another run: ultra run CONFIG --name NAME --set ...",
                )
        self._rewrite(load_config(self.config_path, overrides))

    def _rewrite(self, config: Config) -> None:
        changed, keys = self.config_changed, _keys(config)
        self._state["config_keys"] = [key for key in self._state.get("config_keys") or keys if key in keys]
        self._save_state()  # whichever of the two files a crash leaves behind, they fit
        self.config = config
        self.write_text("config.yaml", config.to_yaml())
        self._state["config_keys"] = keys
        if not changed:
            self._state["config_hash"] = config.hash()
        self._save_state()

    def _save_state(self) -> None:
        """NaN stays NaN here: a resumed run must get back what it stored."""
        self.write_text("state.json", json.dumps(self._state, indent=1) + "\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process, so that no other runs it; what killed ones left half-written is removed.

        Entering raises a `RunError` when another process holds it, the folder cannot be written, or a part of it is
        a symbolic link.
        """
        with locked(self.path):
            refuse_links(self.path, _OWN, (self.checkpoints, self.trajectories, self.tensorboard))
            with suppress(OSError):
                sweep(self.path)
                draft = re.compile(rf"\.{re.escape(self.name)}-(\d+)-[a-z0-9_]{{8}}")
                for path in self.path.parent.iterdir():
                    named = draft.fullmatch(path.name)
                    if named is not None and not path.is_symlink() and not lives(int(named[1])):
                        shutil.rmtree(path, ignore_errors=True)
            yield


def _taken(path: Path) -> RunError:
    return RunError(
        f"the run {path} exists already",
        hint=f"go on with it: ultra resume {path}, or start another: --name {path.name}-2",
    )


def _keys(config: Config) -> list[str]:
    return [key for key, _ in flat(config.model_dump(mode="json"))]


def _check_complete(path: Path, keys: Any) -> None:
    """Raise a `RunError` where keys are missing: they would fall back to defaults, caps on spending included."""
    import yaml

    there = dict(flat(yaml.safe_load(path.read_text(encoding="utf-8"))))
    lost = [key for key in keys if key not in there] if isinstance(keys, list) else []
    if lost:
        raise RunError(
            f"the configuration {path} is incomplete: settings of the run are missing",
            found=f"nothing of {', '.join(lost[:5])}{f' and {len(lost) - 5} more' if len(lost) > 5 else ''}",
            expected="every setting it was written with; values may be changed",
            hint=f"restore {path}",
        )
