"""Attacks on whole runs: killed at random moments, answered by a faulty server, on a disk that is full.

    python benchmarks/reliability.py --kills 200 --seed 0 --kills-per-run 4
    python benchmarks/reliability.py --faults 10000
    python benchmarks/reliability.py --disk            (as root: mounts small file systems in memory)

What each does and counts is told in `_kills.py`, `_faults.py` and `_full_disk.py`. Exit status 1 where a count that
should be 0 is not.
"""

from __future__ import annotations

import argparse
import sys

import _faults
import _full_disk
import _kills


def main() -> int:
    """Attack and print the figures; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="kills in all")
    parser.add_argument("--kills-per-run", type=int, default=4, help="kills of one run")
    parser.add_argument("--steps", type=int, default=4000, help="environment steps of refining")
    parser.add_argument("--faults", type=int, default=0, help="faulty answers in all")
    parser.add_argument("--disk", action="store_true", help="fill small disks")
    parser.add_argument("--seed", type=int, default=0, help="of moments and faults")
    asked = parser.parse_args()
    wrong: dict[str, int] = {}
    if asked.kills:
        found = _kills.attack(asked.kills, asked.seed, asked.kills_per_run, asked.steps)
        print(_kills.told(found))
        wrong |= found["wrong"]
    if asked.faults:
        found = _faults.attack(asked.faults, asked.seed)
        print(_faults.told(found))
        wrong |= found["wrong"]
    if asked.disk:
        found = _full_disk.attack()
        print(_full_disk.told(found))
        wrong |= found["wrong"]
    if not (asked.kills or asked.faults or asked.disk):
        parser.error("nothing to do: --kills N, --faults N or --disk")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
