from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.cli.main import invoke
from ultra_agents.errors import ConfigError, UltraError
from ultra_agents.experiments import cells_of, load_experiment
from ultra_agents.experiments.presets import preset, presets
from ultra_agents.experiments.spec import merged, references

from .conftest import TASK

RULED: dict[str, Any] = {"corridor": {**TASK, "advice": {"file": "rules.yaml"}}}
"""The corridor with a person's file of rules."""


def test_every_task_method_and_seed_is_a_cell(small: Any) -> None:
    _, cells, _ = small(seeds=[3, 7], tasks={"a": TASK, "b": TASK})
    assert [cell.name for cell in cells] == [
        f"{task}-{method}-{seed}" for task in "ab" for seed in (3, 7) for method in ("continue", "ultra-ra")
    ]
    assert {cell.config.seed for cell in cells} == {3, 7}
    assert {cell.config.methods for cell in cells} == {("continue",), ("ultra-ra",)}


def test_cells_share_what_would_come_out_the_same(small: Any) -> None:
    _, cells, _ = small(
        seeds=1, methods=["continue", "ultra-ra", "ultra-a", "ultra-r", "ultra-ra-untested", "random", "oracle"]
    )
    by_method = {cell.method: cell for cell in cells}
    assert by_method["continue"].waits_for == ()
    assert {cell.after for cell in cells[1:]} == {"corridor-continue-0"}
    assert by_method["ultra-ra"].advice_of is None
    assert by_method["ultra-a"].advice_of == "corridor-ultra-ra-0"
    for other in ("ultra-r", "ultra-ra-untested", "random", "oracle"):  # imitation, testing or proposer differ
        assert by_method[other].advice_of is None


def test_nobody_looks_at_a_video_of_each_cell_unless_asked_for(small: Any) -> None:
    _, cells, _ = small(seeds=1)
    assert [cell.config.evaluate.video for cell in cells] == [False, False]
    _, cells, _ = small(seeds=1, common={"evaluate": {"video": True}})
    assert [cell.config.evaluate.video for cell in cells] == [True, True]


def test_answers_are_cached_per_task_and_seed_for_all_cells(small: Any) -> None:
    _, cells, root = small()
    assert {cell.config.gateway.cache for cell in cells} == {
        root.absolute() / f"answers-corridor-{seed}.sqlite" for seed in (0, 1)
    }


def test_a_variant_has_settings_of_its_own(small: Any) -> None:
    often = {"name": "often", "method": "ultra-ra", "settings": {"modulation": {"probability": 0.9}}}
    _, cells, _ = small(seeds=1, methods=["ultra-ra", often])
    assert [cell.config.modulation.probability for cell in cells] == [0.3, 0.9]


def test_a_method_may_have_settings_on_one_task_only(small: Any) -> None:
    often = {"name": "often", "method": "rice", "settings": {"rice": {"probability": 0.9, "pool": 3}}}
    tuned = {**TASK, "settings_of": {"often": {"rice": {"probability": 0.5}}}}
    _, cells, _ = small(seeds=1, methods=["rice", often], tasks={"a": tuned, "b": TASK})
    found = {cell.name: (cell.config.rice.probability, cell.config.rice.pool) for cell in cells}
    assert found == {"a-rice-0": (0.25, 16), "a-often-0": (0.5, 3), "b-rice-0": (0.25, 16), "b-often-0": (0.9, 3)}


def test_the_papers_methods_believe_everything(small: Any) -> None:
    _, (cell,), _ = small(seeds=1, methods=["ultra-ra-untested"])
    assert cell.config.verification.mode == "none"
    assert cell.config.imitation.mode == "never"


@pytest.mark.parametrize("name", presets())
def test_every_method_is_one_a_run_knows(name: str, small: Any) -> None:
    _, (cell,), _ = small(seeds=1, methods=[name], tasks=RULED)
    assert list(cell.config.methods) == preset(name)["methods"]
    assert cell.config.of_rules == name.startswith(("rules", "reward"))
    assert (cell.config.form == "goals") == name.startswith("goals")


def test_a_tasks_file_of_rules_is_read_by_the_cells_that_are_about_it(small: Any) -> None:
    _, cells, _ = small(seeds=1, methods=["continue", "rules-random", "rules-file", "rules-constants"], tasks=RULED)
    found = {cell.method: cell.config.advice.file for cell in cells}
    assert found["continue"] is found["rules-random"] is None
    assert found["rules-file"] == found["rules-constants"] == Path("rules.yaml")


def test_rules_are_tested_once_for_all_ways_of_using_them(small: Any) -> None:
    _, cells, _ = small(seeds=1, methods=["rules-file", "rules-layer", "rules-imitate", "rules-random"], tasks=RULED)
    assert [cell.advice_of for cell in cells] == [None, "corridor-rules-file-0", "corridor-rules-file-0", None]
    assert [cell.config.advice.apply for cell in cells] == ["auto", "layer", "imitate", "auto"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"methods": ["ulta-ra"]}, "there is no method 'ulta-ra'"),
        ({"methods": ["continue", "continue"]}, "two methods are called 'continue'"),
        ({"methods": []}, "methods"),
        ({"seeds": 0}, "seeds of a comparison"),
        ({"seeds": [1, 1]}, "seeds of a comparison"),
        ({"seeds": "two"}, "seeds is not usable 'two'"),
        ({"seeds": [-1]}, "seeds of a comparison"),
        ({"tasks": {"corridor": {**TASK, "seeds": 0}}}, "seeds of the task corridor"),
        ({"tasks": {"corridor": {**TASK, "without": ["oracel"]}}}, "corridor.without is no list of methods"),
        ({"tasks": {"corridor": {**TASK, "without": "oracle"}}}, "corridor.without is no list of methods"),
        ({"tasks": {"corridor": {**TASK, "without": ["continue", "ultra-ra"]}}}, "corridor.without is no list of"),
        ({"tasks": {"corridor": {**TASK, "seeds": "many"}}}, "seeds of the task corridor"),
        ({"tasks": {"corridor": {**TASK, "seeds": [0, 0.5]}}}, "seeds of the task corridor"),
        ({"tasks": {}}, "tasks"),
        ({"sedes": 3}, "has no key 'sedes'"),
        ({"common": {"refine": {"stepz": 5}}}, "no key 'refine.stepz'"),
        ({"common": {"seed": 4}}, "common sets 'seed'"),
        ({"tasks": {"corridor": {**TASK, "methods": ["continue"]}}}, "corridor sets 'methods'"),
        ({"methods": [{"name": "more", "method": "continue", "settings": {"refine": {"steps": 9}}}]}, "other terms"),
        ({"methods": [{"name": "x", "method": "rice", "settings": {"evaluate": {"episodes": 9}}}]}, "other terms"),
        ({"tasks": {"corridor": {**TASK, "reference": "high"}}}, "reference is no number"),
        ({"tasks": {"corridor": {**TASK, "settings_of": {"rise": {}}}}}, "corridor.settings_of is no mapping"),
        ({"tasks": {"corridor": {**TASK, "settings_of": ["continue"]}}}, "corridor.settings_of is no mapping"),
        ({"tasks": {"corridor": {**TASK, "settings_of": {"continue": 3}}}}, "corridor.settings_of is no mapping"),
        ({"tasks": {"corridor": {**TASK, "settings_of": {"continue": {"seed": 3}}}}}, "other terms"),
        (
            {"tasks": {"corridor": {**TASK, "settings_of": {"continue": {"refine": {"steps": 9}}}}}},
            "'continue on corridor' would be compared on other terms",
        ),
        ({"tasks": {"corridor": {**TASK, "settings_of": {"continue": {"refine": {"stepz": 5}}}}}}, "refine.stepz"),
        ({"methods": ["rules-file"]}, "reads a set of rules, and none is named"),
        (
            {"methods": [{"name": "x", "method": "rules-file", "settings": {"advice": {"file": "mine.yaml"}}}]},
            "other terms",
        ),
        ({"engine": {"kind": "slurm"}}, "engine.kind"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], says: str, write: Callable[..., Path], tmp_path: Path) -> None:
    def read() -> None:
        experiment = load_experiment(write(**changes))
        cells_of(experiment, tmp_path)
        references(experiment)

    with pytest.raises(UltraError) as caught:
        read()
    assert says in f"{caught.value.problem} {caught.value.found}"
    assert caught.value.exit_code == 2


def test_everything_an_environment_lacks_is_listed_at_once(write: Callable[..., Path], tmp_path: Path) -> None:
    lacking = {"environment": {"name": "gymnasium:CartPole-v1"}, "policy": {"train_steps": 256}}
    experiment = load_experiment(write(methods=["continue", "oracle", "rice"], tasks={"cart": lacking, "ok": TASK}))
    with pytest.raises(ConfigError, match="asks environments for what they do not offer") as caught:
        cells_of(experiment, tmp_path)
    assert "oracle on cart: an expert" in str(caught.value.found)
    assert "on ok" not in str(caught.value.found)


def test_the_configuration_of_a_run_is_told_from_an_experiment(tmp_path: Path) -> None:
    path = tmp_path / "pong.yaml"
    path.write_text("environment: {name: pong}\npolicy: {shipped: suboptimal}\n")
    with pytest.raises(ConfigError, match="configuration of one run"):
        load_experiment(path)


def test_another_plugin_does_not_inherit_options() -> None:
    one, two = {"environment": {"name": "a", "options": {"x": 1}}}, {"environment": {"name": "b"}}
    assert merged(one, two) == two
    assert merged(one, {"environment": {"options": {"y": 2}}})["environment"]["options"] == {"x": 1, "y": 2}


def test_a_reference_comes_from_the_file_or_from_the_environment(small: Any) -> None:
    experiment, _, _ = small(tasks={"given": {**TASK, "reference": 3}, "known": TASK})
    found = references(experiment)
    assert found["given"] == 3.0
    assert found["known"] is not None
    assert 0 < found["known"] < 1


def test_a_task_may_have_seeds_of_its_own(small: Any) -> None:
    experiment, cells, _ = small(seeds=3, methods=["continue"], tasks={"slow": {**TASK, "seeds": 1}, "fast": TASK})
    assert [cell.name for cell in cells] == [
        "slow-continue-0", "fast-continue-0", "fast-continue-1", "fast-continue-2",
    ]  # fmt: skip
    assert (experiment.seeds_of("slow"), experiment.seeds_of("fast")) == ((0,), (0, 1, 2))


def test_a_task_may_go_without_a_method(small: Any) -> None:
    without = {**TASK, "without": ["ultra-ra"]}
    _, cells, _ = small(seeds=1, methods=["continue", "ultra-ra"], tasks={"a": without, "b": TASK})
    assert [cell.name for cell in cells] == ["a-continue-0", "b-continue-0", "b-ultra-ra-0"]


def test_seeds_that_see_the_same_episodes_share_their_answers(small: Any) -> None:
    recorded = {**TASK, "collect": {"folder": "episodes"}}
    _, cells, _ = small(seeds=2, methods=["ultra-ra"], tasks={"played": TASK, "recorded": recorded})
    caches = {(cell.task, cell.seed): Path(str(cell.config.gateway.cache)).name for cell in cells}
    assert caches["recorded", 0] == caches["recorded", 1] == "answers-recorded.sqlite"
    assert (caches["played", 0], caches["played", 1]) == ("answers-played-0.sqlite", "answers-played-1.sqlite")


def test_agents_of_a_comparison_with_several_models_say_which_they_ask(small: Any) -> None:
    """Which one is named first would be an accident of how `common` and a task were put together."""
    two = {name: {"provider": "scripted", "options": {}} for name in ("one", "other")}
    with pytest.raises(ConfigError, match="not every agent says which") as caught:
        small(methods=["continue", "ultra-ra", "random"], tasks={"corridor": {**TASK, "llms": two}})
    assert caught.value.found == "ultra-ra on corridor: identifier, advisor, critic (models: default, one, other)"
    named = {"agents": {role: {"llm": "other"} for role in ("identifier", "advisor", "critic")}}
    variant = {"name": "asked", "method": "ultra-ra", "settings": named}
    _, cells, _ = small(methods=["continue", variant], tasks={"corridor": {**TASK, "llms": two}})
    assert cells[-1].config.agents.advisor.names == ("other",)


def test_an_engine_of_the_command_line_that_does_not_exist_is_refused(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["compare", str(write()), "--engine", "spark"]) == 2
    said = capsys.readouterr().err
    assert "the command line: engine.kind is not usable" in said
    assert "expected: one of: 'local' or 'ray'" in said


def test_advice_that_is_learnt_with_other_options_is_not_shared(small: Any) -> None:
    longer = {"refine": {"algorithm": {"options": {"clone_steps": 77}}}}
    fewer = {"refine": {"num_envs": 1}}
    methods = ["ultra-ra", {"name": "longer", "method": "ultra-ra", "settings": longer},
               {"name": "fewer", "method": "ultra-ra", "settings": fewer}, "ultra-a"]  # fmt: skip
    task = {**TASK, "policy": {"path": str(Path(__file__))}}
    _, cells, _ = small(seeds=1, methods=methods, tasks={"corridor": task})
    assert [cell.advice_of for cell in cells] == [None, None, None, "corridor-ultra-ra-0"]


@pytest.mark.parametrize("own", [{"num_envs": 1}, {"algorithm": {"options": {"clone_steps": 77}}}])
def test_a_start_that_is_trained_by_the_runs_is_trained_alike(small: Any, own: dict[str, Any]) -> None:
    method = {"name": "other", "method": "ultra-ra", "settings": {"refine": own}}
    with pytest.raises(ConfigError, match="would train another starting policy"):
        small(methods=["continue", method])
