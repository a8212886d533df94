"""Which run a run was forked from, and which were forked from it: `parent.json` in the folder of a fork."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ultra_agents.errors import RunError
from ultra_agents.text import parsed_json

PARENT = "parent.json"


@dataclass(frozen=True)
class Paid:
    """What stages cost.

    Attributes:
        calls: Model calls.
        tokens: Prompt and completion tokens of these.
        cost: Money, in the currency of the prices.
        env_steps: Environment steps, those of evaluation and of probing included.
    """

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    env_steps: int = 0

    @property
    def words(self) -> str:
        """For people: "12 model calls, 3,400 tokens, 5,000 environment steps"."""
        asked = [f"{self.calls:,} model calls", f"{self.tokens:,} tokens"] if self.calls else []
        money = [f"{self.cost:.4f} money"] if self.cost else []
        return ", ".join([*asked, *money, f"{self.env_steps:,} environment steps"])


@dataclass(frozen=True)
class Parent:
    """Where a fork comes from.

    Attributes:
        id: The parent's, which stays when its folder is moved or renamed.
        name: Its name when the fork was made.
        place: Its folder as seen from the fork's, usually `../NAME`.
        stage: The first stage that the fork runs itself.
        shared: Stages it took over, in order.
        changed: By setting, the value in the parent and in the fork, as YAML.
        paid: What the shared stages cost, paid by the parent or by those it was forked from.
        versions: Packages and plugins that made them.
    """

    id: str
    name: str
    place: str
    stage: str
    shared: tuple[str, ...] = ()
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    paid: Paid = Paid()
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """For people: of which run, from where on, with what changed."""
        changed = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in self.changed.items())
        return f"fork of {self.name} from {self.stage} on; {changed or 'no setting changed'}"


PARENTS = TypeAdapter(Parent)


def read_parent(folder: Path) -> Parent | None:
    """The parent of the run in `folder`; None where it is no fork.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / PARENT
    try:
        return PARENTS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} is damaged",
            found=str(error).splitlines()[0],
            expected="what `ultra fork` wrote",
            hint="restore it: it says which run this is a fork of, and what that one paid",
        ) from error


def place_of_parent(folder: Path, parent: Parent) -> Path | None:
    """The parent's folder; None where it is gone, or another run has its place."""
    place = Path(os.path.normpath(folder / parent.place))
    try:
        found = parsed_json((place / "state.json").read_bytes())
    except (OSError, ValueError):
        return None
    return place if isinstance(found, dict) and found.get("id") == parent.id else None


def forks_of(folder: Path, identity: str) -> Iterator[tuple[Path, Parent]]:
    """The forks of the run `identity` beside `folder`, by name; damaged ones are left out."""
    for path in sorted(folder.absolute().parent.glob(f"*/{PARENT}")):
        try:
            found = read_parent(path.parent)
        except RunError:
            continue
        if found is not None and found.id == identity:
            yield path.parent, found
