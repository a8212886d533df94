"""What the live screen costs a run: the same run in plain lines and on a real terminal, one after the other.

    python benchmarks/display.py [--config examples/pong.yaml] [--set refine.steps=20000] [--size 200x60]

Prints, for each, the wall and processor seconds of the whole process, and of these the seconds spent on drawing (the
display's thread), on taking note of events (the run's own threads, so the only cost that can hold a run up), and on
the pictures of states (a thread of its own; both modes make them, since they are part of the event log). Without
`--config` a short run of the corridor; every figure is of one run each, so compare shares, not single seconds.

    python benchmarks/display.py --compare [--config examples/experiments/quick.yaml] [--size 200x60]

the same for the screen of a comparison: seconds of the driver and all its workers together, and of these those spent
on drawing and on reading the cells' logs. Without `--config` four short cells of the corridor.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import resource
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any

import yaml

CORRIDOR: dict[str, Any] = {
    "name": "run",
    "environment": {"name": "corridor"},
    "policy": {"train_steps": 1000},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 8},
    "imitation": {"mode": "never"},
    "refine": {"steps": 40_000, "num_envs": 4, "workers": 0, "evaluate_every": 2000, "curve_episodes": 4},
    "evaluate": {"episodes": 8},
}


COMPARISON: dict[str, Any] = {
    "name": "four", "seeds": 2, "methods": ["continue", "ultra-ra"], "engine": {"workers": 2},
    "common": {key: value for key, value in CORRIDOR.items() if key not in ("name", "environment", "policy")},
    "tasks": {"corridor": {"environment": {"name": "corridor"}, "policy": {"train_steps": 1000}}},
}  # fmt: skip


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--size", default="200x60", help="columns x rows of the terminal")
    parser.add_argument("--compare", action="store_true", help="the screen of a comparison")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None and args.compare:
        compared(args.child, args.config)
        return
    if args.child is not None:
        child(args.child, args.config, args.settings, args.plain)
        return
    columns, rows = map(int, args.size.split("x"))
    if args.compare:
        comparison(args.config, columns, rows)
        return
    print(
        "| display | wall, s | CPU, s | drawing, s | its share | events, s | pictures, s | log, kB | of it pictures |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        config = args.config
        if config is None:
            config = Path(folder) / "corridor.yaml"
            config.write_text(yaml.safe_dump(CORRIDOR), encoding="utf-8")
        for mode in ("plain", "live"):
            place = Path(folder) / mode
            place.mkdir()
            said = [f"--set={one}" for one in args.settings]
            said += ["--plain"] if mode == "plain" else []
            argv = [sys.executable, __file__, f"--child={place}", f"--config={config.resolve()}", *said]
            found = in_terminal(argv, columns, rows, place)
            name, share = mode if mode == "plain" else f"live, {args.size}", found["drawing"] / found["cpu"]
            seconds = f"{found['wall']:.1f} | {found['cpu']:.1f} | {found['drawing']:.2f} | {share:.2%}"
            more = f"{found['events']:.3f} | {found['pictures']:.2f} | {found['log'] / 1e3:.0f}"
            print(f"| {name} | {seconds} | {more} | {found['shown'] / 1e3:.0f} |", flush=True)


def comparison(config: Path | None, columns: int, rows: int) -> None:
    """Run a comparison on a terminal of that size and print what its screen cost."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if config is None:
            config = place / "four.yaml"
            config.write_text(yaml.safe_dump(COMPARISON), encoding="utf-8")
        argv = [sys.executable, __file__, "--compare", f"--child={place}", f"--config={config.resolve()}"]
        found = in_terminal(argv, columns, rows, place)
    share = (found["drawing"] + found["reading"]) / found["cpu"]
    print("| screen | wall, s | CPU of all processes, s | drawing, s | reading logs, s | their share |")
    print("|---|---|---|---|---|---|")
    seconds = f"{found['wall']:.1f} | {found['cpu']:.1f} | {found['drawing']:.2f} | {found['reading']:.2f}"
    print(f"| compare, {columns}x{rows} | {seconds} | {share:.2%} |")


def compared(place: Path, config: Path) -> None:
    """Run the comparison below `place`, and write down what showing it cost."""
    from ultra_agents.cli.compare import display as compare_display
    from ultra_agents.cli.compare.command import compare
    from ultra_agents.ui.compare.display import CompareDisplay

    shown: list[CompareDisplay] = []

    class Measured(CompareDisplay):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            shown.append(self)

    setattr(compare_display, "CompareDisplay", Measured)  # noqa: B010 - what is measured takes its place
    began = time.perf_counter()
    compare(config, place / "runs", None, None, None, False, False)
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found = {
        "wall": time.perf_counter() - began,
        "cpu": sum(use.ru_utime + use.ru_stime for use in uses),
        "drawing": shown[0].drawing_s,
        "reading": shown[0].reading_s,
    }
    (place / "measured.json").write_text(json.dumps(found), encoding="utf-8")


def in_terminal(argv: list[str], columns: int, rows: int, place: Path) -> dict[str, float]:
    """Run `argv` on a pseudo-terminal whose output is read and thrown away; what it measured of itself."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        os.execv(argv[0], argv)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    kept = bytearray()
    while True:
        try:
            data = os.read(fd, 1 << 16)
        except OSError:
            break
        if not data:
            break
        kept = (kept + data)[-4000:]
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    if status:
        sys.exit(f"the run failed:\n{kept.decode(errors='replace')}")
    found: dict[str, float] = json.loads((place / "measured.json").read_text(encoding="utf-8"))
    return found


def child(place: Path, config: Path, settings: list[str], plain: bool) -> None:
    """Run, with a clock on what the screen costs, and write down what it showed."""
    from ultra_agents.cli.run_display import execute
    from ultra_agents.config import load_config
    from ultra_agents.runs import RunFolder
    from ultra_agents.stages.pictures import Pictures
    from ultra_agents.ui import display
    from ultra_agents.ui.live import LiveDisplay

    spent = {"events": 0.0, "pictures": 0.0}
    lock = threading.Lock()
    shown: list[Any] = []

    def timed(cls: Any, name: str, key: str) -> None:
        method = getattr(cls, name)

        def measured(self: Any, *given: Any) -> Any:
            began = time.thread_time()
            try:
                return method(self, *given)
            finally:
                with lock:
                    spent[key] += time.thread_time() - began

        setattr(cls, name, measured)

    choose = display.choose_display

    def chosen(*given: Any) -> Any:
        shown.append(choose(*given))
        if not plain and not isinstance(shown[-1], LiveDisplay):
            raise SystemExit(f"this terminal gets a {type(shown[-1]).__name__}")
        timed(type(shown[-1]), "handle", "events")
        return shown[-1]

    display.choose_display = chosen
    timed(Pictures, "_shown", "pictures")
    folder = RunFolder.create(place / "runs", load_config(config, settings))
    wall, cpu = time.perf_counter(), time.process_time()
    execute(folder, "plain" if plain else "auto")
    lines = folder.events.read_bytes().splitlines()
    found = {
        **spent,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "drawing": 0.0 if plain else shown[-1].drawing_s,
        "log": sum(map(len, lines)),
        "shown": sum(len(line) for line in lines if b'"StateShown"' in line),
    }
    (place / "measured.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
