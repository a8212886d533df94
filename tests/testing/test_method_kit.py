"""The kit for methods passes every registered one and finds each fault of a broken one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from ultra_agents.contracts import Method, Modulated, Options, Prepared, Setting, Terms
from ultra_agents.registry import catalogue, create_method
from ultra_agents.testing.method_kit import check_method


@pytest.mark.parametrize("name", [row.name for row in catalogue() if row.kind == "method"])
def test_registered_methods_conform(name: str) -> None:
    report = check_method(create_method(name))
    assert report.ok, str(report)


class Guide:
    """A modulation that changes nothing and counts its steps."""

    learn = "policy"

    def __init__(self) -> None:
        self.steps = 0

    def begin(self, num_envs: int) -> None: ...

    def set_progress(self, progress: float) -> None: ...

    def act(self, observations: Any, actions: Any) -> Modulated:
        self.steps += 1
        never, zeros = np.zeros(len(actions), np.bool_), np.zeros(len(actions))
        return Modulated(actions, never, never, zeros, actions, zeros)

    def behaviour_log_prob(self, policy_log_prob: Any, modulated: Modulated) -> Any:
        return policy_log_prob

    def reward(self, rewards: Any, modulated: Modulated, next_observations: Any, ended: Any) -> Any:
        return rewards

    def metrics(self) -> dict[str, float]:
        return {"steps": float(self.steps)}

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


class Good(Method):
    name: ClassVar[str] = "good"
    label: ClassVar[str] = "Good"
    about: ClassVar[str] = "trains under a modulation that changes nothing"

    def prepare(self, setting: Setting) -> Prepared:
        setting.services.collect(2, setting.streams.child(self.name))
        return Prepared(setting.start, Guide(), spent={"episodes": 40})  # type: ignore[arg-type]


def test_a_good_one_passes_every_check() -> None:
    assert Counter(row.status for row in check_method(Good(Options())).rows) == {"pass": 9}


def test_a_method_the_corridor_cannot_have_is_skipped() -> None:
    class Particular(Good):
        def missing(self, terms: Terms) -> list[str]:
            return [*super().missing(terms), "it wants a robot"]

    rows = {row.check: row.status for row in check_method(Particular(Options())).rows}
    assert {rows[check] for check in ("prepare", "start", "charge", "repeat", "train", "resume")} == {"skipped"}
    assert {rows[check] for check in ("words", "options", "missing")} == {"pass"}


class Nameless(Good):
    about: ClassVar[str] = ""


class TwoLines(Good):
    label: ClassVar[str] = "a\nb"


class Loud(Good):
    colour: ClassVar[int | None] = 6


class Adviser(Good):
    advice: ClassVar[Any] = "b"


class Wishful(Good):
    needs: ClassVar[Mapping[str, str]] = {"magic": "it is nice"}

    def missing(self, terms: Terms) -> list[str]:
        return []


class Forgetful(Good):
    needs: ClassVar[Mapping[str, str]] = {"snapshot": "episodes start at stored states"}

    def missing(self, terms: Terms) -> list[str]:
        return []


class Mute(Good):
    def missing(self, terms: Terms) -> Any:
        return ""


class Builder(Good):
    def missing(self, terms: Terms) -> list[str]:
        terms.environment.make(1)
        return []


class Lax(Good):
    class Options(BaseModel):  # type: ignore[assignment]
        """Of no contract."""


class Lenient(Options):
    model_config = ConfigDict(extra="ignore")


class Sloppy(Good):
    Options = Lenient


class Empty(Good):
    def prepare(self, setting: Setting) -> Any:
        return None


class Statue(Good):
    def prepare(self, setting: Setting) -> Prepared:
        return Prepared("a policy", Guide(), spent={"episodes": 40})  # type: ignore[arg-type]


class Chatty(Good):
    def prepare(self, setting: Setting) -> Prepared:
        return Prepared(setting.start, Guide(), note=None)  # type: ignore[arg-type]


class Measured(Good):
    def prepare(self, setting: Setting) -> Prepared:
        return Prepared(setting.start, Guide(), metrics={"worth": "much"})  # type: ignore[arg-type, dict-item]


class Vandal(Good):
    def prepare(self, setting: Setting) -> Prepared:
        next(setting.start.actor.parameters()).data.add_(1.0)  # type: ignore[attr-defined]
        return Prepared(setting.start)


class Free(Good):
    def prepare(self, setting: Setting) -> Prepared:
        setting.services.collect(2, setting.streams.child(self.name))
        return Prepared(setting.start, Guide())  # type: ignore[arg-type]


class Stepper(Good):
    def prepare(self, setting: Setting) -> Prepared:
        with setting.services.simulators(2) as simulators:
            simulators.reset(seed=[1, 2])
            simulators.step(np.zeros(2, np.int64))
        return Prepared(setting.start, Guide(), spent={"one": 1})  # type: ignore[arg-type]


class Advised(Good):
    advice: ClassVar[Any] = "r"


class Spender(Good):
    def prepare(self, setting: Setting) -> Prepared:
        return Prepared(setting.start, Guide(), spent={"all": 3001})  # type: ignore[arg-type]


class Lazy(Good):
    trains: ClassVar[bool] = False


class Moody(Good):
    def prepare(self, setting: Setting) -> Prepared:
        terms, seed = setting.terms, int(np.random.default_rng().integers(2**31))
        spaces = terms.environment.observation_space, terms.environment.action_space
        return Prepared(terms.algorithm.create_policy(*spaces, seed), Guide())  # type: ignore[arg-type]


class Fickle(Good):
    charged = 0

    def prepare(self, setting: Setting) -> Prepared:
        self.charged += 1
        return Prepared(setting.start, Guide(), spent={"more": self.charged})  # type: ignore[arg-type]


class Restless(Good):
    def prepare(self, setting: Setting) -> Prepared:
        guide = Guide()
        guide.steps = int(np.random.default_rng().integers(2**31))
        return Prepared(setting.start, guide)  # type: ignore[arg-type]


class Short(Guide):
    def reward(self, rewards: Any, modulated: Modulated, next_observations: Any, ended: Any) -> Any:
        return rewards[:1]


class Wordy(Guide):
    def metrics(self) -> Any:
        return {"mood": "good"}


class Undecided(Guide):
    def act(self, observations: Any, actions: Any) -> Modulated:
        made = super().act(observations, actions)
        return Modulated(actions, made.matched[:1], made.followed, made.probability, actions, made.weight)


class Impossible(Guide):
    def act(self, observations: Any, actions: Any) -> Modulated:
        made = super().act(observations, actions)
        return Modulated(actions + 7, made.matched, made.followed, made.probability, actions, made.weight)


class Infinite(Guide):
    def behaviour_log_prob(self, policy_log_prob: Any, modulated: Modulated) -> Any:
        return policy_log_prob * np.nan


class Amnesiac(Guide):
    def load_state(self, state: dict[str, Any]) -> None: ...


class Opaque(Guide):
    def state(self) -> dict[str, Any]:
        return {"steps": np.zeros(self.steps)} if self.steps else {}


def under(guide: type[Guide]) -> type[Method]:
    class Guided(Good):
        def prepare(self, setting: Setting) -> Prepared:
            return Prepared(setting.start, guide())  # type: ignore[arg-type]

    return Guided


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        (Nameless, {"words"}), (TwoLines, {"words"}), (Loud, {"words"}), (Adviser, {"words", "charge"}),
        (Wishful, {"words", "missing"}), (Forgetful, {"missing"}), (Mute, {"missing"}), (Builder, {"missing"}),
        (Sloppy, {"options"}), (Chatty, {"prepare"}), (Measured, {"prepare"}),
        (Vandal, {"start"}), (Free, {"charge"}), (Stepper, {"charge"}), (Advised, {"charge"}),
        (Spender, {"charge"}), (Lazy, {"charge"}), (Moody, {"repeat"}), (Fickle, {"repeat"}),
        (under(Short), {"train", "resume"}), (under(Undecided), {"train", "resume"}),
        (under(Impossible), {"train", "resume"}), (under(Infinite), {"train", "resume"}), (under(Wordy), {"train"}),
        (under(Amnesiac), {"resume"}), (under(Opaque), {"resume"}),
    ],
)  # fmt: skip
def test_each_fault_is_found(broken: type[Method], failed: set[str]) -> None:
    report = check_method(broken(broken.Options()))
    assert {row.check for row in report.failed} == failed, str(report)
    assert all(row.do for row in report.failed)


def test_options_of_no_contract_are_found() -> None:
    assert "options" in {row.check for row in check_method(Lax(Lax.Options())).failed}


@pytest.mark.parametrize("broken", [Empty, Statue])
def test_what_prepares_nothing_fails_in_words(broken: type[Method]) -> None:
    report = check_method(broken(Options()))
    assert "prepare" in {row.check for row in report.failed}
    assert "not a Prepared" in str(report) or "no Policy" in str(report)


def test_another_modulation_each_time_is_found() -> None:
    assert "repeat" in {row.check for row in check_method(Restless(Options())).failed}
