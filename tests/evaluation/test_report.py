from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.cases import HELD, REFUTED, case, explained
from ultra_agents.config import Config
from ultra_agents.contracts import ReferenceReturns
from ultra_agents.errors import RunError
from ultra_agents.evaluation.report import ReportInputs, build_report, write_report
from ultra_agents.evaluation.wording import digits_for, interval, number
from ultra_agents.records import JointVerdict, MethodResult, Returns

Make = Callable[..., ReportInputs]


def test_the_keys_programs_rely_on(make_inputs: Make) -> None:
    report = build_report(make_inputs())
    assert set(report["methods"]) == {"ultra-ra", "continue"}
    for row in report["methods"].values():
        for when in ("returns_before", "returns_after", "returns_last", "returns_best"):
            assert {"mean", "low", "high", "episodes", "values", "seeds"} <= set(row[when])
            assert row[when]["low"] < row[when]["mean"] < row[when]["high"]
        assert row["returns_after"] == row["returns_last"]
    assert report["methods"]["ultra-ra"]["env_steps"] == {"total": 1000, "collect": 40, "test": 60, "refine": 900}
    assert report["advice"]["proposed"] == 3
    assert report["advice"]["accepted"] == 1
    assert report["advice"]["dropped"] == {
        "total": 3,
        "by_reason": {"no gain": 2, "malformed reply": 1},
        "by_stage": {"advise": 1, "test": 2},
    }
    llm = report["llm"]
    assert [llm[key] for key in ("calls", "cached", "prompt_tokens", "completion_tokens", "seconds")] == [
        5,
        1,
        300,
        50,
        4.0,
    ]
    assert llm["by_agent"]["advisor"]["prompt_tokens"] == 200
    assert llm["tokens_per_accepted"] == 350
    assert report["config_hash"] == make_inputs().config.hash()
    assert report["versions"]["plugins"] == {"pong": "1.0"}
    assert report["env_steps"]["refine:continue"] == 1000
    assert report["table"] == {"entries": 1, "radius": 0.5, "hit_rate": 0.1}
    assert report["command"] == "ultra run examples/pong.yaml"
    assert report["seconds"] == {"total": 90.0, "by_stage": {"collect": 5.0, "refine": 60.0}}
    assert report["flow"] == {
        "episodes": 1, "segments": 1, "critical": 3, "suggestions": 3, "tested": 3, "accepted": 1
    }  # fmt: skip


def test_the_json_has_no_nan_and_survives_the_round_trip(make_inputs: Make) -> None:
    report = build_report(make_inputs(peak_memory_mb=np.float64("inf"), table={"radius": np.nan, "n": np.int64(3)}))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["methods"]["ultra-ra"]["metrics"] == {"return_mean": None}
    assert report["peak_memory_mb"] is None
    assert report["table"] == {"radius": None, "n": 3}


def test_the_same_inputs_give_the_same_files(make_inputs: Make, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, make_inputs())
    for name in ("report.json", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_write_report_leaves_two_whole_files_and_nothing_else(make_inputs: Make, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("old")
    report = write_report(tmp_path, make_inputs())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert (tmp_path / "report.html").read_text().endswith("</html>")


def test_a_folder_that_cannot_be_written_is_named(make_inputs: Make, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(RunError, match=r"cannot write .*taken") as caught:
        write_report(tmp_path / "taken", make_inputs())
    assert "ultra resume" in (caught.value.hint or "")


def test_the_comparison_is_paired_and_worded(make_inputs: Make) -> None:
    inputs = make_inputs()
    row = build_report(inputs)["comparison"]["ultra-ra"]
    first, second = (result.last.values for result in inputs.results)
    assert row["mean"] == pytest.approx(np.mean(np.subtract(first, second)))
    assert row["against"] == "continue"
    assert row["low"] < row["mean"] < row["high"]
    includes = row["low"] <= 0 <= row["high"]
    assert row["words"].startswith("the interval includes 0" if includes else "the interval excludes 0")
    assert 0 <= row["probability_of_improvement"]["value"] <= 1


def equal_methods(inputs: ReportInputs, shift: float) -> list[MethodResult]:
    first, second = inputs.results
    wiggle = np.tile([1.0, -1.0], len(second.last.values) // 2)
    values = tuple(float(value) for value in np.add(second.last.values, shift + wiggle))
    return [replace(first, last=Returns(values, second.last.seeds, second.last.lengths)), second]


def test_the_headline_does_not_claim_what_the_interval_does_not_carry(make_inputs: Make) -> None:
    undecided = build_report(make_inputs(results=equal_methods(make_inputs(), 0.1)))
    assert undecided["headline"].startswith("ULTRA-RA ended at ")
    assert undecided["headline"].endswith("includes 0.")
    assert "no difference can be claimed" in undecided["comparison"]["ultra-ra"]["words"]
    better = build_report(make_inputs(results=equal_methods(make_inputs(), 3.0)))
    assert better["headline"].endswith("excludes 0.")
    assert ", continued PPO at " in better["headline"]
    worse = build_report(make_inputs(results=equal_methods(make_inputs(), -3.0)))
    assert worse["comparison"]["ultra-ra"]["verdict"] == "worse"
    assert "difference -3.0 [" in worse["headline"]


def test_rules_in_force_come_first_in_the_headline_and_have_their_own_difference(make_inputs: Make) -> None:
    (alone, second) = equal_methods(make_inputs(), 0.1)
    acting = equal_methods(make_inputs(), 3.0)[0].last
    report = build_report(make_inputs(results=[replace(alone, with_rules=acting), second]))
    row = report["comparison"]["ultra-ra"]
    assert (row["verdict"], row["with_rules"]["verdict"]) == ("undecided", "better")
    assert row["with_rules"]["mean"] == pytest.approx(np.mean(acting.values) - np.mean(second.last.values))
    assert report["headline"].startswith("ULTRA-RA with its rules in force ended at ")
    assert "excludes 0. Its network alone: " in report["headline"]
    assert build_report(make_inputs())["comparison"]["ultra-ra"]["with_rules"] is None


def test_the_headline_speaks_of_the_first_method_not_of_the_best(make_inputs: Make) -> None:
    inputs = make_inputs()
    first, second = inputs.results
    winner = replace(first, method="ultra-a", last=Returns((99.0,) * 16, first.last.seeds, first.last.lengths))
    report = build_report(make_inputs(results=[first, winner, second]))
    assert report["headline"].startswith("ULTRA-RA ended")
    assert any("not corrected" in text for text in report["caveats"])


def test_without_a_baseline_nothing_is_compared(make_inputs: Make) -> None:
    report = build_report(make_inputs(results=make_inputs().results[:1]))
    assert report["comparison"] == {}
    assert "ULTRA-RA went from " in report["headline"]
    assert "nothing without advice was run beside it" in report["headline"]
    assert any("'continue' was not run" in text for text in report["caveats"])


def test_without_a_baseline_rules_in_force_come_first_too(make_inputs: Make) -> None:
    alone = make_inputs().results[0]
    acting = replace(alone.last, values=tuple(value + 50.0 for value in alone.last.values))
    report = build_report(make_inputs(results=[replace(alone, with_rules=acting)]))
    row = report["methods"]["ultra-ra"]
    assert row["change_with_rules"]["mean"] == pytest.approx(row["change"]["mean"] + 50)
    assert report["headline"].startswith("ULTRA-RA with its rules in force went from ")
    assert "to compare with. Its network alone: " in report["headline"]


def test_only_the_baseline_and_nothing_at_all(make_inputs: Make) -> None:
    only = build_report(make_inputs(results=make_inputs().results[1:], explanations=()))
    assert only["headline"].startswith("Continued PPO went from ")
    assert build_report(make_inputs(results=()))["headline"].startswith("Nothing was refined")


def test_a_control_is_named_as_one(make_inputs: Make) -> None:
    config = Config(**{**make_inputs().config.model_dump(), "proposer": "random"})
    report = build_report(make_inputs(config=config))
    assert report["headline"].startswith("ULTRA-RA (random advice) ended")


def test_one_training_seed_is_said_in_plain_words(make_inputs: Make) -> None:
    scope = build_report(make_inputs())["scope"]
    assert "16 evaluation episodes of ONE training seed (7)" in scope
    assert "nothing about other training seeds" in scope


def test_unequal_budgets_are_pointed_out(make_inputs: Make) -> None:
    first, second = make_inputs().results
    fair = build_report(make_inputs())
    assert not any("budgets differ" in text for text in fair["caveats"])
    unfair = build_report(make_inputs(results=[replace(first, env_steps={"refine": 1500}), second]))
    assert any("1,500 environment steps, continue 1,000" in text for text in unfair["caveats"])


def test_precision_counts_every_test(make_inputs: Make) -> None:
    advice = build_report(make_inputs())["advice"]
    assert (advice["held"], advice["tested"]) == (1, 3)
    assert advice["precision"]["value"] == pytest.approx(1 / 3)
    assert advice["precision"]["low"] < 1 / 3 < advice["precision"]["high"]
    assert advice["mean_gain_accepted"] == 0.5
    assert advice["mean_gain_tested"] == pytest.approx(-0.5 / 3)
    revised = case(30, HELD)
    revised = replace(revised, attempts=(*case(30, REFUTED).attempts, *revised.attempts))
    given = build_report(make_inputs(explanations=[explained(revised, case(36, REFUTED))]))["advice"]
    assert (given["accepted"], given["held"], given["tested"]) == (1, 1, 3), "a revision is tested too"
    assert given["mean_gain_tested"] == pytest.approx(-0.5 / 3)


def test_a_row_of_advice_has_its_plan_in_words_and_as_moves(make_inputs: Make) -> None:
    state = case(hold=1, then=(("STAY", 6),))
    (row,) = build_report(make_inputs(explanations=[explained(state)]))["advice"]["rows"]
    assert (row["plan"], row["moves"]) == ("UP for 1 step, then STAY for 6 steps", [["UP", 1], ["STAY", 6]])
    fields = ("episode", "step", "taken_action", "reward", "source", "segment", "kind", "joint")
    assert [row[key] for key in fields] == [0, 24, "STAY", 0.6, "tiny-llm", "0:0-60", "point lost", None]
    assert row["test"]["gain"] == 0.5


@pytest.mark.parametrize(
    ("joint", "verdict"),
    [
        (JointVerdict(True, 0.4, 0.1, 0.7, 12), "holds"),
        (JointVerdict(False, 0.4, -0.1, 0.7, 12), "undecided"),
        (JointVerdict(False, -0.4, -0.7, -0.1, 12), "loses"),
        (JointVerdict(False, 0.0, 0.0, 0.0, 0), "not paid for"),
    ],
)
def test_advice_used_in_a_set_says_what_the_test_of_the_set_found(
    make_inputs: Make, tmp_path: Path, joint: JointVerdict, verdict: str
) -> None:
    inputs = make_inputs(explanations=[explained(case(test=None, joint=joint))])
    (row,) = write_report(tmp_path, inputs)["advice"]["rows"]
    assert row["joint"]["verdict"] == verdict
    page = " ".join((tmp_path / "report.html").read_text(encoding="utf-8").split())
    assert f"Tested together with others: {verdict}" in page
    assert ("per episode in 12 pairs" in page) is (joint.pairs == 12)
    assert "Not tested alone." in page


def test_untested_and_absent_advice(make_inputs: Make) -> None:
    untested = build_report(make_inputs(explanations=[explained(case(test=None))]))
    assert untested["advice"]["precision"] is None
    assert untested["advice"]["mean_gain_accepted"] is None
    assert any("not tested" in text for text in untested["caveats"])
    empty = build_report(make_inputs(explanations=[explained()], usage={}))
    assert empty["advice"]["rows"] == []
    assert empty["llm"]["calls"] == 0
    assert empty["llm"]["tokens_per_accepted"] is None
    assert "No suggestion was accepted" in empty["headline"]


def test_normalised_scores_put_the_start_at_0_and_the_reference_at_1(make_inputs: Make) -> None:
    inputs = make_inputs()
    start, last = inputs.results[0].before.mean, inputs.results[0].last.mean
    half_way = ReferenceReturns(-21.0, start + 2 * (last - start), "made up")
    assert build_report(make_inputs(reference=half_way))["methods"]["ultra-ra"]["normalised"]["last"] == pytest.approx(
        0.5
    )
    below = ReferenceReturns(-21.0, start - 1, "worse than the start")
    assert build_report(make_inputs(reference=below))["methods"]["ultra-ra"]["normalised"] is None


def test_times_that_cannot_be_read_fall_back_to_the_stages(make_inputs: Make) -> None:
    assert build_report(make_inputs(started="yesterday"))["seconds"]["total"] == 65.0


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [(-0.04, 1, False, "0.0"), (-0.04, 1, True, "0.0"), (1.44, 1, True, "+1.4"),
     (3559.2, 0, False, "3,559"), (None, 1, False, "–")],
)  # fmt: skip
def test_numbers_for_people(value: float | None, digits: int, sign: bool, text: str) -> None:
    assert number(value, digits, sign) == text


def test_digits_follow_the_uncertainty() -> None:
    assert digits_for([{"low": -4.7, "high": -1.5}]) == 1
    assert digits_for([{"low": 3540.0, "high": 3578.0}]) == 0
    assert digits_for([{"low": 0.30, "high": 0.34}]) == 3
    assert digits_for([{"low": None, "high": None}]) == 2
    assert interval({"mean": 1.44, "low": -0.2, "high": 3.0}, 1) == "+1.4 [-0.2, 3.0]"
    assert interval({"mean": 1.0, "low": None, "high": None}, 1) == "+1.0 [no interval]"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {"entries": 1, "hit_rate": 0.1},
            "has 1 entry; 10.0 % of the states visited in refinement matched one.",
        ),
        ({"entries": 1, "hit_rate": None}, "1 entry; it did not act in refinement, which started from the copy"),
        ({"entries": 0, "hit_rate": None}, "The table has 0 entries."),
    ],
)
def test_the_page_says_whether_the_table_acted(
    make_inputs: Make, tmp_path: Path, table: dict[str, float | None], words: str
) -> None:
    write_report(tmp_path, make_inputs(table=table))
    assert words in " ".join((tmp_path / "report.html").read_text(encoding="utf-8").split())
