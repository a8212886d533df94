import math

import numpy as np
import pytest

from ultra_agents.advice import AdviceTable
from ultra_agents.config import ModulationConfig
from ultra_agents.errors import Interrupted, RunError
from ultra_agents.events import Evaluated, TrainingProgress
from ultra_agents.modulation import ModulationEngine
from ultra_agents.refinement.refine import refine
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

ENVIRONMENT = create_environment("corridor", {"slip": 0.1})
ALGORITHM = create_algorithm("ppo", {"num_steps": 32, "hidden": [16, 16]})


class Harness:
    """Everything `refine` wants, with a record of what it did."""

    def __init__(self, folder, scores=None):
        self.folder, self.events, self.saved, self.scored = folder, [], [], []
        self.scores = scores or {}

    def __call__(self, stop=lambda: False, modulation=None, **changed):
        start = ALGORITHM.create_policy(ENVIRONMENT.observation_space, ENVIRONMENT.action_space, 3)
        given = {
            "method": "continue",
            "start": start,
            "algorithm": ALGORITHM,
            "simulators": make_simulators(ENVIRONMENT, 8),
            "total_steps": 2048,
            "already_spent": 0,
            "streams": Streams(1).child("refine"),
            "modulation": modulation,
            "score": self.score,
            "evaluate_every": 512,
            "checkpoint": self.folder / "trainer.safetensors",
            "save": lambda which, policy: self.saved.append((which, weights(policy))),
            "emit": self.events.append,
            "stop": stop,
        }
        return refine(**{**given, **changed})

    def score(self, policy, steps):
        self.scored.append((steps, weights(policy)))
        return [self.scores.get(steps, 0.0)] * 2


def weights(policy):
    return policy.state()[0]


def same(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def after(calls):
    count = iter(range(calls + 1))
    return lambda: next(count) >= calls


def test_budget_curve_events_and_saves(tmp_path):
    run = Harness(tmp_path, {0: -1.0, 512: 0.5, 1024: 2.0, 1536: 2.0, 2048: 1.0})
    done = run()
    assert done.env_steps == 2048
    assert [(point.steps, point.value) for point in done.curve] == [
        (0, -1.0), (512, 0.5), (1024, 2.0), (1536, 2.0), (2048, 1.0)
    ]  # fmt: skip
    assert done.best_step == 1024
    by_step = dict(run.scored)
    assert same(weights(done.best), by_step[1024])
    assert same(weights(done.last), by_step[2048])
    assert not same(by_step[1024], by_step[2048])
    assert [which for which, _ in run.saved] == ["best", "best", "best", "last"]
    assert same(run.saved[-2][1], by_step[1024])
    assert same(run.saved[-1][1], by_step[2048])
    evaluated = [event for event in run.events if isinstance(event, Evaluated)]
    assert [(event.steps, event.purpose, event.returns) for event in evaluated][:2] == [
        (0, "curve", (-1.0, -1.0)), (512, "curve", (0.5, 0.5))
    ]  # fmt: skip
    progress = [event for event in run.events if isinstance(event, TrainingProgress)]
    assert [event.steps for event in progress] == list(range(256, 2049, 256))
    assert all(event.total == 2048 for event in progress)
    assert {"v_loss", "entropy", "return_mean"} <= set(done.metrics)
    assert all(math.isfinite(value) for value in done.metrics.values())
    assert done.seconds > 0


def test_the_starting_policy_can_be_the_best(tmp_path):
    run = Harness(tmp_path, {0: 9.0})
    done = run()
    assert done.best_step == 0
    assert same(weights(done.best), run.scored[0][1])
    assert not same(weights(done.best), weights(done.last))


def test_steps_already_spent_are_charged(tmp_path):
    run = Harness(tmp_path)
    done = run(already_spent=1500)
    assert 548 <= done.env_steps < 548 + 8
    assert done.curve[-1].steps == done.env_steps


def test_a_budget_spent_on_testing_leaves_the_policy_as_it_was(tmp_path):
    run = Harness(tmp_path)
    done = run(already_spent=5000)
    assert done.env_steps == 0
    assert [point.steps for point in done.curve] == [0]
    assert same(weights(done.last), run.scored[0][1])
    assert [which for which, _ in run.saved] == ["best", "last"]


@pytest.mark.parametrize("modulated", [False, True])
def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path, modulated):
    scores = {0: 0.0, 512: 3.0, 1024: 1.0, 1536: 2.0, 2048: 1.0}
    whole = Harness(tmp_path / "whole", scores)(modulation=engine() if modulated else None)
    run = Harness(tmp_path / "parts", scores)
    for calls in (0, 3, 2):
        with pytest.raises(Interrupted) as caught:
            run(stop=after(calls), modulation=engine() if modulated else None)
        assert caught.value.hint
        assert "resume" in caught.value.hint
    done = run(modulation=engine() if modulated else None)
    assert same(weights(done.last), weights(whole.last))
    assert same(weights(done.best), weights(whole.best))
    assert (done.best_step, done.curve, done.env_steps) == (whole.best_step, whole.curve, whole.env_steps)
    assert done.metrics == whole.metrics
    assert [steps for steps, _ in run.scored] == [0, 512, 1024, 1536, 2048]  # nothing is scored twice


def engine():
    """Adaptive, holding, rewarding: everything that carries state from step to step."""
    table = AdviceTable(
        features=ENVIRONMENT.features(np.array([[-0.5], [0.5]], np.float32)).astype(np.float64),
        scale=np.ones(1),
        plans=np.array([[1, 1, 1], [0, 0, 0]]),
        holds=np.array([3, 2]),
        rewards=np.array([1.0, -1.0]),
        taken_actions=np.array([0, 1]),
        taken_rewards=np.array([-1.0, 1.0]),
        weights=np.ones(2),
        radius=0.3,
        match="nearest",
        target=0.2,
    )
    return ModulationEngine(table, ENVIRONMENT.features, "ra", ModulationConfig(), np.random.default_rng(4))


def test_shares_of_states_are_averaged_over_all_updates(tmp_path):
    run = Harness(tmp_path)
    done = run(modulation=engine())
    shares = [event.metrics["modulation/hit_rate"] for event in run.events if isinstance(event, TrainingProgress)]
    assert len(set(shares)) > 1
    assert done.metrics["modulation/hit_rate_mean"] == pytest.approx(np.mean(shares))


def test_a_finished_run_taken_up_again_does_not_train(tmp_path):
    run = Harness(tmp_path)
    first = run()
    again = run()
    assert same(weights(first.last), weights(again.last))
    assert again.env_steps == 2048
    assert len(run.scored) == 5


def test_the_checkpoint_of_another_budget_or_method_is_refused(tmp_path):
    run = Harness(tmp_path)
    with pytest.raises(Interrupted):
        run(stop=after(1))
    for changed in ({"total_steps": 4096}, {"method": "ultra-ra"}):
        with pytest.raises(RunError, match="another run") as caught:
            run(**changed)
        assert "delete" in caught.value.hint


def test_a_damaged_checkpoint_is_named(tmp_path):
    run = Harness(tmp_path)
    with pytest.raises(Interrupted):
        run(stop=after(1))
    path = tmp_path / "trainer.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="not a training checkpoint") as caught:
        run()
    assert "delete" in caught.value.hint


def test_a_checkpoint_of_another_architecture_is_named(tmp_path):
    run = Harness(tmp_path)
    with pytest.raises(Interrupted):
        run(stop=after(1))
    wider = create_algorithm("ppo", {"num_steps": 32, "hidden": [8, 8]})
    start = wider.create_policy(ENVIRONMENT.observation_space, ENVIRONMENT.action_space, 3)
    with pytest.raises(RunError, match="does not fit") as caught:
        run(algorithm=wider, start=start)
    assert "delete" in caught.value.hint


def test_a_checkpoint_that_cannot_be_written_is_a_run_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        Harness(tmp_path)(checkpoint=tmp_path / "file" / "trainer.safetensors")
