"""What pydantic complains about is told in plain words: found, expected, what to do."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError

GOOD: dict[str, Any] = {"environment": {"name": "corridor"}, "policy": {"train_steps": 10}}
WRONG: dict[str, tuple[dict[str, Any], str, str | None, str | None]] = {
    "no whole number": ({"seed": "abc"}, "seed is not usable", "a whole number", None),
    "a fraction": ({"seed": 1.5}, "seed is not usable", "a whole number", None),
    "below": ({"seed": -1}, "seed is not usable", "at least 0", None),
    "too little": ({"refine": {"steps": 0}}, "refine.steps is not usable", "more than 0", None),
    "no number": ({"modulation": {"beta": "x"}}, "modulation.beta is not usable", "a number", None),
    "no truth value": ({"agents": {"improve": "perhaps"}}, "agents.improve is not usable", "true or false", None),
    "no section": ({"refine": 3}, "refine is not usable", "settings of its own: {key: value}", None),
    "a name for folders": (
        {"name": "a/b"}, "name is not usable", "letters of a to z, digits, dots, hyphens and underscores", None,
    ),
    "empty": ({"name": ""}, "name is not usable", "at least 1 characters", None),
    "no entries": ({"methods": []}, "methods is not usable", "at least 1 of them", None),
    "one of ours": (
        {"policy": {}}, "policy is not usable", "give exactly one of path, shipped, train_steps", None,
    ),
    "misspelt word": ({"proposer": "serch"}, "proposer is not usable", None, "did you mean 'search'?"),
    "misspelt key": ({"refine": {"stepz": 3}}, "has no key 'refine.stepz'", None, "did you mean 'steps'?"),
    "unknown key": ({"output": "x"}, "has no key 'output'", None, None),
    "missing": ({"environment": {}}, "lacks the key 'environment.name'", "environment.name: VALUE", None),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_wrong_setting_is_told_in_plain_words(case: str) -> None:
    settings, problem, expected, hint = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        parse_config({**GOOD, **settings}, "run.yaml")
    assert problem in caught.value.problem
    assert caught.value.hint == hint
    if expected is not None:
        assert caught.value.expected == expected
    assert "Input should" not in str(caught.value)
    assert "Value error" not in str(caught.value)


def test_what_is_known_is_listed_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**GOOD, "output": "x"}, "run.yaml")
    assert str(caught.value).count("statemask") == 1


def test_no_complaint_of_our_settings_lacks_words() -> None:
    """Types, bounds and lengths that models of settings use are all known in words."""
    from pydantic import Field, ValidationError

    from ultra_agents.option_errors import expected_words

    class Every(BaseModel):
        whole: int = Field(ge=0, le=3)
        share: float = Field(gt=0, lt=1)
        flag: bool = False
        text: str = Field("a", max_length=3)
        many: tuple[int, ...] = Field((), max_length=1)
        named: dict[str, int] = {}

    wrong = {"whole": 9, "share": 2.0, "flag": "x", "text": "abcd", "many": [1, 2], "named": 3}
    with pytest.raises(ValidationError) as caught:
        Every(**wrong)  # type: ignore[arg-type]
    assert [expected_words(one) for one in caught.value.errors()] == [
        "at most 3", "less than 1", "true or false", "at most 3 characters", "at most 1 of them",
        "settings of its own: {key: value}",
    ]  # fmt: skip
