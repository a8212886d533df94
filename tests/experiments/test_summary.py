"""What a comparison reports, from results made up so that every figure is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from tests.experiments.sample_results import LAST, made
from ultra_agents.evaluation.statistics import performance_profile, t_interval
from ultra_agents.experiments import tables
from ultra_agents.experiments.answers import answers, gaps, headline, mixed
from ultra_agents.experiments.cells import CellOutcome, _moves_acted, cells_folder
from ultra_agents.experiments.page import render
from ultra_agents.experiments.summary import summarise
from ultra_agents.records import Returns
from ultra_agents.runs import RunFolder
from ultra_agents.runs.files import round_stage

from .conftest import TASK


@pytest.fixture
def summary(small: Any, worth: dict[str, Any]) -> dict[str, Any]:
    experiment, cells, _ = small(seeds=3)
    results = {cell.name: made(cell, worth if cell.method == "ultra-ra" else None) for cell in cells}
    return summarise(experiment, cells, results, {}, {"corridor": 10.0})


def test_differences_are_paired_by_seed_with_students_interval(summary: dict[str, Any]) -> None:
    row = summary["tasks"]["corridor"]["methods"]["ultra-ra"]
    assert row["difference_by_seed"] == {"0": 3.0, "1": 3.5, "2": 3.0}
    expected = stats.ttest_1samp([3.0, 3.5, 3.0], 0).confidence_interval(0.95)
    assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx(tuple(expected))
    assert row["difference"]["value"] == pytest.approx(3.1667, abs=1e-4)
    assert row["improvement"]["value"] == 1.0
    assert row["last"]["value"] == pytest.approx(5.1667, abs=1e-4)
    assert row["best"]["value"] == pytest.approx(6.1667, abs=1e-4)
    assert row["env_steps"] == {"refine": 1000.0, "test": 24.0}
    assert summary["tasks"]["corridor"]["methods"]["continue"]["difference"] is None


def test_steps_until_the_baselines_end_are_charged_and_told_with_the_seeds_that_got_there(small: Any) -> None:
    """The curves go 0, half, all of the last return after 0, 50, 100 steps; `ultra-ra` has paid 24 before."""
    experiment, cells, _ = small(seeds=3)
    paid = {"test": 24, "refine": 1000, "confirm": 500}
    results = {}
    for cell in cells:
        one = made(cell)
        results[cell.name] = (
            replace(one, method=replace(one.method, env_steps=paid)) if cell.method != "continue" else one
        )
    methods = summarise(experiment, cells, results, {}, {"corridor": 10.0})["tasks"]["corridor"]["methods"]
    assert methods["ultra-ra"]["reach"] == {"seeds": 3, "reached": 3, "steps": 74.0}  # 2.0 >= 1, 2.75 >= 2, 3 >= 3
    assert methods["continue"]["reach"] == {"seeds": 3, "reached": 3, "steps": 100.0}
    assert [point["steps"] for point in methods["ultra-ra"]["curve"]] == [24, 74, 124]


def test_a_median_seed_that_never_gets_there_has_no_number(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAST, "ultra-ra", [4.0, 1.0, 1.0])
    experiment, cells, _ = small(seeds=3)
    summary = summarise(experiment, cells, {cell.name: made(cell) for cell in cells}, {}, {"corridor": 10.0})
    assert summary["tasks"]["corridor"]["methods"]["ultra-ra"]["reach"] == {"seeds": 3, "reached": 1, "steps": None}
    head, rows = tables.performance(summary)
    assert [row[head.index("steps to continue's end")] for row in rows] == ["100 (3 of 3)", "(1 of 3)"]
    page = render(summary, "x")
    assert '<td data-head="steps to continue\'s end">(1 of 3)</td>' in page
    assert "100<small>(3 of 3)</small>" in page, "what is in brackets stands below its number: the table is narrower"


def test_what_was_refined_with_is_told_once_and_differences_are_pointed_out(small: Any) -> None:
    experiment, cells, _ = small(seeds=3)
    own = {"words": "ppo with ent_coef 0.003 (policy file a)", "values": {}, "sources": {}, "unused": ""}
    alike = {cell.name: replace(made(cell), refining=own) for cell in cells}
    summary = summarise(experiment, cells, alike, {}, {"corridor": 10.0})
    assert summary["tasks"]["corridor"]["refining"] == [{**own, "methods": ["continue", "ultra-ra"]}]
    page = render(summary, "x")
    assert page.count("Refined with ppo with ent_coef 0.003 (policy file a).") == 1
    assert "Not all methods refined with the same settings" not in page
    head, rows = tables.refining(summary)
    assert (head[2], rows[0][2]) == ("refined with", own["words"])

    mixed = {
        name: replace(one, refining=None) if one.cell.method == "continue" else one for name, one in alike.items()
    }
    summary = summarise(experiment, cells, mixed, {}, {"corridor": 10.0})
    assert [row["methods"] for row in summary["tasks"]["corridor"]["refining"]] == [["continue"], ["ultra-ra"]]
    page = render(summary, "x")
    assert "Not all methods refined with the same settings" in page
    assert "settings that are not recorded" in page


def test_without_rules_there_is_no_such_table(summary: dict[str, Any]) -> None:
    assert tables.rules(summary) is None
    assert "What the rules were worth" not in render(summary, "ultra compare x.yaml")


def test_curves_begin_after_what_was_spent_before(summary: dict[str, Any]) -> None:
    points = summary["tasks"]["corridor"]["methods"]["ultra-ra"]["curve"]
    assert [point["steps"] for point in points] == [24.0, 74.0, 124.0]
    assert points[-1]["value"] == pytest.approx(5.1667, abs=1e-4)


def test_scores_are_normalised_between_start_and_reference(summary: dict[str, Any]) -> None:
    found = summary["overall"]["methods"]
    assert found["continue"]["mean"]["value"] == pytest.approx(0.2)
    assert found["ultra-ra"]["mean"]["value"] == pytest.approx(0.51667, abs=1e-4)
    assert found["ultra-ra"]["improvement"]["value"] == 1.0
    assert found["ultra-ra"]["profile"][0] == 1.0
    assert found["ultra-ra"]["profile"][-1] == 0.0


def test_a_task_whose_start_is_at_its_reference_has_no_share_in_the_overall_scores(small: Any) -> None:
    """Between the two there is nothing: below a start that is better, gains would count as losses."""
    experiment, cells, _ = small(seeds=2, tasks={"open": TASK, "beaten": TASK})
    results = {cell.name: made(cell) for cell in cells}
    better = results["beaten-continue-0"]
    start = Returns((10.0, 12.0), (2, 2), (7, 8))
    results["beaten-continue-0"] = replace(better, method=replace(better.method, before=start))
    summary = summarise(experiment, cells, results, {}, {"open": 10.0, "beaten": 10.0})
    assert (summary["overall"]["tasks"], summary["overall"]["beaten"]) == (["open"], ["beaten"])
    assert summary["overall"]["methods"]["ultra-ra"]["mean"]["value"] > 0
    assert "Without beaten, where a starting policy is at its reference already." in render(summary, "x")


def test_precision_and_price_add_up_over_seeds(summary: dict[str, Any]) -> None:
    worth = summary["tasks"]["corridor"]["methods"]["ultra-ra"]["advice"]
    assert (worth["tested"], worth["held"], worth["accepted"]) == (12, 3, 3)
    assert worth["precision"]["value"] == 0.25
    assert worth["per_accepted"]["tokens"] == 100
    assert worth["per_accepted"]["env_steps"] == 24


def test_one_seed_has_no_interval_and_says_why(small: Any) -> None:
    experiment, cells, _ = small(seeds=1)
    summary = summarise(experiment, cells, {cell.name: made(cell) for cell in cells}, {}, {"corridor": None})
    row = summary["tasks"]["corridor"]["methods"]["ultra-ra"]
    assert row["difference"]["low"] is None
    assert summary["overall"]["methods"] == {}
    page = render(summary, "ultra compare x.yaml")
    assert "corridor: a single training seed has no spread" in page
    assert row["difference"]["episodes"] == 2, "too few for a claim"
    assert headline(summary) == "corridor, against continue (from 0.00 to 1.00): no interval for ultra-ra."


def test_cells_that_failed_or_are_missing_are_named_and_not_counted(small: Any) -> None:
    experiment, cells, _ = small(seeds=3)
    done = {cell.name: made(cell) for cell in cells if cell.seed != 1}
    lost = {"corridor-continue-1": CellOutcome("corridor-continue-1", "failed", 1.0, "the <disk> is full")}
    summary = summarise(experiment, cells, done, lost, {"corridor": 10.0})
    assert summary["tasks"]["corridor"]["methods"]["continue"]["seeds"] == [0, 2]
    assert summary["tasks"]["corridor"]["methods"]["ultra-ra"]["difference_by_seed"].keys() == {"0", "2"}
    assert "continue" not in summary["overall"]["methods"], "an aggregate needs every seed"
    page = render(summary, "again")
    assert "2 of 6 cells are not in these numbers: corridor 2 of 6." in page
    assert "corridor-continue-1 (failed: the &lt;disk&gt; is full)" in page
    assert "corridor-ultra-ra-1 (missing)" in page


def test_the_report_says_how_many_cells_of_each_task_are_missing(small: Any) -> None:
    experiment, cells, _ = small(seeds=2, tasks={"a": TASK, "b": TASK})
    done = {cell.name: made(cell) for cell in cells if cell.task == "a" or cell.seed == 0}
    summary = summarise(experiment, cells, done, {}, {"a": 10.0, "b": 10.0})
    assert headline(summarise(experiment, cells, {}, {}, {"a": 1.0, "b": 1.0})) == ("Nothing finished yet of a, b.")
    assert gaps(summary) == "2 of 8 cells are not in these numbers: a 0 of 4, b 2 of 4."
    assert gaps(summary) in render(summary, "again")
    first = {name: row for name, row in done.items() if name.startswith("a")}
    half = summarise(experiment, cells, first, {}, {"a": 10.0, "b": 10.0})
    assert headline(half).startswith("a, against continue")
    assert headline(half).endswith(" Nothing finished yet of b.")
    page = render(half, "again")
    assert page.count("environment steps per method") == 1, "a task of which nothing is finished has no empty table"
    whole = summarise(experiment, cells, {cell.name: made(cell) for cell in cells}, {}, {"a": 10.0, "b": 10.0})
    assert gaps(whole) == ""
    assert "not in these numbers" not in render(whole, "again")
    assert render(whole, "again").count("environment steps per method") == 2


def test_the_page_claims_what_the_intervals_carry(summary: dict[str, Any]) -> None:
    (one,) = answers(summary)
    assert headline(summary) == f"corridor, against continue (from 0.0 to 2.0): ultra-ra helped, {one.gain}."
    assert (one.verdict, one.advice) == ("helped", "3 of 12 tested suggestions held")
    assert one.sentence.startswith("corridor, ultra-ra: helped: +3.2 [2.4, 3.9] over 3 training seeds; ")
    assert "ended at 5.2, continue at 2.0" in one.sentence
    assert "24 of its steps before refining, 100 tokens" in one.sentence
    page = render(summary, "ultra compare x.yaml")
    assert page.count("<svg") >= 3
    assert "http" not in page.replace("http-equiv", "")
    assert 'href="cells/corridor-ultra-ra-2/report.html"' in page


def test_tables_in_markdown_and_latex(summary: dict[str, Any]) -> None:
    table = tables.performance(summary)
    text = tables.markdown(table)
    assert text.splitlines()[0].startswith("| task | method | seeds | before | after (last) | IQM (last) |")
    row = (
        "| corridor | ultra-ra | 3 | 0.0 | 5.2 (2.6 to 7.8) | 5.2 (4.0 to 6.0) | 6.2 (3.6 to 8.8) | +3.2 [2.4, 3.9] |"
    )
    assert f"{row} 100% |" in text
    tex = tables.latex(table)
    assert tex.startswith("\\begin{tabular}{llrrrrrrrr}\n\\toprule")
    assert "100\\% & 74 (3 of 3) \\\\" in tex
    assert tables.ablation(summary) is None
    assert tables.advice(summary) is not None


def test_methods_stand_side_by_side_on_several_tasks(
    small: Any, summary: dict[str, Any], worth: dict[str, Any]
) -> None:
    assert tables.side_by_side(summary, answers(summary)) is None, "one task: its own table says all"
    idle = {**worth, "held": 0, "accepted": 0}
    experiment, cells, _ = small(seeds=3, tasks={"near": TASK, "far": TASK, "waiting": TASK})
    results = {
        cell.name: made(cell, None if cell.method == "continue" else worth if cell.task == "near" else idle)
        for cell in cells
        if cell.task != "waiting" and cell.name != "far-ultra-ra-2"
    }
    both = summarise(experiment, cells, results, {}, dict.fromkeys(("near", "far", "waiting"), 10.0))
    table = tables.side_by_side(both, answers(both))
    assert table == (
        ("minus continue", "near", "far"),
        [["ultra-ra", "**+3.2 [2.4, 3.9]**", "+3.2 [0.1, 6.4]; nothing acted (2 seeds)"]],
    )
    assert "\\textbf{+3.2 [2.4, 3.9]} & +3.2" in tables.latex(table)
    page = render(both, "x").split("<h2>Side by side</h2>")[1].split("</table>")[0]
    assert '<b class="helped">+3.2 [2.4, 3.9]</b></td>' in page
    assert "<td>+3.2 [0.1, 6.4]<small>nothing acted (2 seeds)</small></td>" in page


def test_ticks_of_thousands_are_written_as_in_the_text(summary: dict[str, Any]) -> None:
    for row in summary["tasks"]["corridor"]["methods"].values():
        row["curve"] = [{**point, "steps": 400 * point["steps"]} for point in row["curve"]]
    page = render(summary, "x")
    assert ">40,000<" in page
    assert ">40000<" not in page


HERE = {"torch": "2.13.0", "processor": "x86_64, openblas SkylakeX", "langchain-core": "1.0"}


def test_cells_made_on_another_processor_than_what_they_are_held_against_are_told(small: Any) -> None:
    experiment, cells, _ = small(seeds=3)
    elsewhere = {**HERE, "processor": "x86_64, openblas Zen", "langchain-core": "1.1"}
    moved = {0: elsewhere, 1: HERE, 2: {}}  # the last is of a version that did not say
    results = {
        cell.name: replace(made(cell), made_with=HERE if cell.method == "continue" else moved[cell.seed])
        for cell in cells
    }
    summary = summarise(experiment, cells, results, {}, {"corridor": None})
    told = (
        "1 cell made with another processor than the cell of continue on the same seed (x86_64, openblas Zen, not "
        "x86_64, openblas SkylakeX): a part of the differences may come of that."
    )
    assert mixed(summary) == told
    assert told in render(summary, "x")
    alike = {name: replace(one, made_with=elsewhere) for name, one in results.items()}
    assert mixed(summarise(experiment, cells, alike, {}, {"corridor": None})) == ""


def test_cells_as_csv_have_every_figure_unrounded(small: Any, worth: dict[str, Any]) -> None:
    experiment, cells, _ = small(seeds=2)
    results = {cell.name: made(cell, worth if cell.method == "ultra-ra" else None) for cell in cells[:-1]}
    ruled = results["corridor-ultra-ra-0"]
    acting = Returns((1 / 3, 1 / 3), (2, 2), (7, 8))
    results[ruled.cell.name] = replace(ruled, method=replace(ruled.method, with_rules=acting), seconds=1.5)
    text = tables.comma_separated(tables.cells(summarise(experiment, cells, results, {}, {"corridor": None})))
    assert text.splitlines() == [
        "task,method,seed,before,last,best,with_rules,env_steps,env_steps_before_refining,seconds",
        "corridor,continue,0,0.0,1.0,2.0,,1024,0,",
        "corridor,ultra-ra,0,0.0,4.0,5.0,0.3333333333333333,1024,24,1.5",
        "corridor,continue,1,0.0,2.0,3.0,,1024,0,",
    ]


def test_students_interval_and_profile_against_known_values() -> None:
    found = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])  # Student's t: 3 +- 2.776 * 1.5811 / sqrt(5)
    assert (found.low, found.high) == pytest.approx((1.0368, 4.9632), abs=1e-4)
    assert t_interval([2.0]).low is None
    assert performance_profile([[0.0, 1.0], [2.0, 3.0]], [-1.0, 0.5, 1.0, 3.0]).tolist() == [1.0, 0.75, 0.5, 0.0]


def test_every_row_of_every_table_leads_to_its_runs(summary: dict[str, Any]) -> None:
    page = render(summary, "ultra compare x.yaml")
    for table, rows in (("All tasks together", 2), ("What the advice was worth", 1)):
        part = page.split(f"<h2>{table}</h2>")[1].split("</table>")[0]
        assert part.count("<tr>") == rows + 1
        assert part.count('<td class="runs"><a href="cells/corridor-') == rows
    assert page.count('href="cells/corridor-ultra-ra-2/report.html"') == 3


def test_missing_controls_are_named(small: Any, summary: dict[str, Any]) -> None:
    assert summary["controls_missing"] == ["none", "random"]
    assert "no claim about a method is complete without: none, random." in render(summary, "x")
    experiment, cells, _ = small(seeds=1, methods=["none", "continue", "random"])
    assert summarise(experiment, cells, {}, {}, {"corridor": None})["controls_missing"] == []


def test_without_the_baseline_among_the_methods_nothing_is_claimed(summary: dict[str, Any]) -> None:
    rows = summary["tasks"]["corridor"]["methods"]
    alone = {"ultra-ra": {**rows["ultra-ra"], "difference": None, "difference_with_rules": None}}
    told = {
        **summary,
        "methods": ["ultra-ra"],
        "tasks": {"corridor": {**summary["tasks"]["corridor"], "methods": alone}},
    }
    assert answers(told) == []
    assert headline(told) == "corridor: continue is not among the methods, so there is nothing to hold them against."
    still = {**told, "methods": ["continue", "ultra-ra"]}
    assert headline(still) == (
        "corridor: no cell of continue is finished, so there is nothing to hold the others against."
    )


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [((-3.0, -1.0), "hurt"), ((-1.0, 1.0), "no difference shown"), ((0.0, 2.0), "no difference shown")],
)
def test_an_answer_is_what_the_interval_carries(
    summary: dict[str, Any], gap: tuple[float, float], verdict: str
) -> None:
    rows = summary["tasks"]["corridor"]["methods"]
    changed = {**rows["ultra-ra"], "difference": {"value": sum(gap) / 2, "low": gap[0], "high": gap[1]}}
    methods = {**rows, "ultra-ra": changed}
    (one,) = answers({**summary, "tasks": {"corridor": {**summary["tasks"]["corridor"], "methods": methods}}})
    assert one.verdict == verdict


def test_one_seed_with_episodes_enough_has_an_interval_over_them(small: Any) -> None:
    experiment, cells, _ = small(seeds=1)
    played = {"continue": (1.0, 2.0, 0.0, 1.0, 2.0, 0.0), "ultra-ra": (4.0, 6.0, 3.0, 4.0, 5.0, 4.0)}
    results = {}
    for cell in cells:
        one = made(cell)
        last = Returns(played[cell.method], (2,) * 6, tuple(range(6)))
        results[cell.name] = replace(one, method=replace(one.method, last=last))
    summary = summarise(experiment, cells, results, {}, {"corridor": None})
    gap = summary["tasks"]["corridor"]["methods"]["ultra-ra"]["difference"]
    assert (gap["value"], gap["episodes"]) == (pytest.approx(20 / 6), 6)
    assert 3.0 <= gap["low"] <= gap["value"] <= gap["high"] <= 4.0
    (answer,) = answers(summary)
    assert (answer.verdict, answer.basis) == ("helped", "6 paired episodes of one training seed")
    assert f"<h1><span>{headline(summary)}</span></h1>" in render(summary, "x")


def test_a_difference_is_no_help_of_advice_that_never_acted(small: Any, worth: dict[str, Any]) -> None:
    experiment, cells, _ = small(seeds=3)
    refuted = {**worth, "held": 0, "accepted": 0, "gain": None}
    results = {cell.name: made(cell, refuted if cell.method == "ultra-ra" else None) for cell in cells}
    summary = summarise(experiment, cells, results, {}, {"corridor": 10.0})
    (one,) = answers(summary)
    assert (one.verdict, one.advice) == ("nothing acted", "none of 12 tested suggestions held")
    assert one.gain.startswith("+3.2 ["), "the figure is shown all the same"
    assert headline(summary) == "corridor, against continue (from 0.0 to 2.0): nothing acted for ultra-ra."


def test_an_interval_is_over_the_seeds_that_were_paired(small: Any) -> None:
    experiment, cells, _ = small(seeds=3)
    done = {cell.name: made(cell) for cell in cells if cell.name != "corridor-continue-1"}
    (one,) = answers(summarise(experiment, cells, done, {}, {"corridor": 10.0}))
    assert one.basis == "2 training seeds"


def test_a_set_that_acted_is_told_apart_from_suggestions_that_held_alone(small: Any, worth: dict[str, Any]) -> None:
    experiment, cells, _ = small(seeds=3)
    as_a_set = {**worth, "held": 0, "accepted": 4}
    results = {cell.name: made(cell, as_a_set if cell.method == "ultra-ra" else None) for cell in cells}
    (one,) = answers(summarise(experiment, cells, results, {}, {"corridor": 10.0}))
    assert one.advice == "none of 12 tested suggestions held by itself, 12 as part of a set"


def test_fidelity_that_could_not_be_measured_is_left_out(small: Any, worth: dict[str, Any]) -> None:
    scores = {"scores": [{"difference": None}, {"difference": 0.5}]}
    experiment, cells, _ = small(seeds=1)
    results = {
        cell.name: made(cell, {**worth, "fidelity": scores} if cell.method == "ultra-ra" else None) for cell in cells
    }
    table = tables.advice(summarise(experiment, cells, results, {}, {"corridor": None}))
    assert table is not None
    assert table[1][0][-1] == "+0.50"


@pytest.mark.parametrize(("acted", "verdict"), [(True, "helped"), (None, "helped"), (False, "nothing acted")])
def test_moves_that_hold_and_act_nowhere_are_said_to(
    small: Any, worth: dict[str, Any], acted: bool | None, verdict: str
) -> None:
    experiment, cells, _ = small(seeds=3)
    results = {
        cell.name: replace(made(cell, worth if cell.method == "ultra-ra" else None), moves_acted=acted)
        for cell in cells
    }
    (one,) = answers(summarise(experiment, cells, results, {}, {"corridor": None}))
    assert one.verdict == verdict
    said = "neither their table nor a copy that learnt them did better than the policy"
    assert (said in one.advice) == (acted is False)


def test_what_acted_is_read_from_the_stages_that_decided_it(small: Any) -> None:
    _, (cell,), root = small(seeds=1, methods=["ultra-ra"])
    folder = RunFolder.create(cells_folder(root), cell.config)
    assert _moves_acted(folder) is None
    folder.mark_done("table", {"value": {"acts": False}})
    assert _moves_acted(folder) is False
    folder.mark_done("imitate", {"value": {"copy": False}})
    folder.mark_done(round_stage(2), {"value": {"copy": True}})
    assert _moves_acted(folder) is True
