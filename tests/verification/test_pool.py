import multiprocessing
import os
import pickle
import signal
from typing import Any

import numpy as np
import pytest

from ultra_agents.contracts.vector import sharing_cores
from ultra_agents.errors import EnvironmentFault
from ultra_agents.policies import load_policy
from ultra_agents.registry import create_environment
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification.jobs import Job, Terms, difference
from ultra_agents.verification.pool import make_pool
from ultra_agents.verification.rollouts import Player

from .conftest import Walker, corridor, outcomes, play

TERMS = Terms(Streams(1), 0.9)


def job(pair: int = 0, until: Any = 30, moves: int = 2, **parts: Any) -> Job:
    snapshot = (play(Walker(0.5)).snapshots or ())[0]
    plan = np.zeros(moves, np.int64)
    whole: dict[str, Any] = {
        "plans": (plan,),
        "candidates": (None,),
        "baseline": None,
        "until": until if isinstance(until, tuple) else (until,),
        **parts,
    }
    return Job(snapshot=snapshot, address=(0, 0, pair), **whole)


def as_numbers(outcome: Any) -> tuple[Any, ...]:
    rollout = outcome.candidates[0]
    return (
        rollout.earned.tolist(),
        rollout.end,
        rollout.digests,
        rollout.merged,
        rollout.over,
        outcome.baseline.returns.tolist(),
    )


@pytest.mark.parametrize("slots", [2, 3, 16, 40])
def test_a_rollout_depends_on_its_state_plan_and_uniforms_only(slots: int) -> None:
    policy, world = Walker(0.5, worth=2.0), corridor(slip=0.3)
    player = Player(world, policy, slots, TERMS)
    jobs = [job(pair) for pair in range(20)]
    together = [as_numbers(one) for one in outcomes(player, *jobs)]
    assert together == [as_numbers(outcomes(player, one)[0]) for one in jobs]
    assert together == [as_numbers(one) for one in outcomes(player, *reversed(jobs))][::-1]
    assert len({str(one) for one in together}) > 1
    player.close()


@pytest.mark.parametrize("cut", [2, 3, 5, 8])
def test_a_rollout_played_in_two_parts_is_the_same_rollout(cut: int) -> None:
    policy, world = Walker(0.5, worth=2.0), corridor(slip=0.3)
    player = Player(world, policy, 8, TERMS)
    for pair in range(12):
        (whole,) = outcomes(player, job(pair))
        (first,) = outcomes(player, job(pair, until=cut))
        busy = job(99)  # its environments are stepped in the same blocks
        again = job(pair, candidates=first.candidates, baseline=first.baseline)
        (second, _) = outcomes(player, again, busy)
        assert as_numbers(second)[:5] == as_numbers(whole)[:5]
        assert first.steps[0] + second.steps[0] == whole.steps[0]
        assert first.baseline_steps + second.baseline_steps == whole.baseline_steps
        assert difference(second.baseline, second.candidates[0], 30) == difference(
            whole.baseline, whole.candidates[0], 30
        )
    player.close()


def test_candidates_of_different_length_share_one_base_arm() -> None:
    policy, world = Walker(0.5, worth=2.0), corridor(slip=0.3)
    player = Player(world, policy, 8, TERMS)
    plans = tuple(np.zeros(length, np.int64) for length in (1, 2, 4))
    until = (11, 12, 14)
    for pair in range(12):
        (shared,) = outcomes(player, job(pair, plans=plans, candidates=(None,) * 3, until=until))
        for place, plan in enumerate(plans):
            (alone,) = outcomes(player, job(pair, plans=(plan,), until=until[place]))
            assert as_numbers(alone)[:5] == as_numbers(shared_at(shared, place))[:5]
            cut = until[place]
            assert difference(alone.baseline, alone.candidates[0], cut) == difference(
                shared.baseline, shared.candidates[place], cut
            )
        assert shared.baseline_steps <= 14
    player.close()


def shared_at(outcome: Any, place: int) -> Any:
    return type(outcome)(
        outcome.baseline, (outcome.candidates[place],), (outcome.steps[place],), outcome.baseline_steps
    )


def test_arms_that_meet_stop_and_differ_by_what_they_had_earned() -> None:
    player = Player(corridor(), Walker(0.0), 4, TERMS)
    (outcome,) = outcomes(player, job(plans=(np.ones(1, np.int64),)))
    assert outcome.candidates[0].merged == 1
    assert (outcome.steps, outcome.baseline_steps) == ((1,), 1)
    assert difference(outcome.baseline, outcome.candidates[0], 30) == 0
    player.close()


class Deadly(Corridor):
    """Ends its process at the lure."""

    def make(self, num_envs: int) -> Any:
        envs = super().make(num_envs)
        step = envs.step

        def deadly(actions: Any) -> Any:
            result = step(actions)
            if ((result[1] > 0.1) & (result[1] < 0.5)).any():
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        envs.step = deadly
        return envs


def test_a_worker_that_dies_is_told_and_nothing_is_left_behind() -> None:
    pool = make_pool(Deadly(CorridorOptions()), Walker(0.0), TERMS, workers=2, slots=4)
    try:
        fine = pool.submit(job(plans=(np.ones(2, np.int64),)))
        assert fine.result(60).candidates[0].merged == 2
        doomed = pool.submit(job(moves=6))
        with pytest.raises(EnvironmentFault, match="died") as caught:
            doomed.result(60)
        assert caught.value.found == "signal 9"
        with pytest.raises(EnvironmentFault, match="died"):
            pool.submit(job()).result(60)
    finally:
        pool.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_signals_to_their_parent_and_close_in_the_middle_of_work(number: int) -> None:
    pool = make_pool(corridor(length=1001, max_steps=5000), Walker(0.5), TERMS, workers=1, slots=2)
    (process,) = multiprocessing.active_children()
    os.kill(process.pid or 0, number)
    snapshot = (play(Walker(0.5), corridor(length=1001)).snapshots or ())[0]
    endless = Job(snapshot, (0, 0, 0), (np.zeros(9, np.int64),), (None,), None, (10**6,))
    waiting = [pool.submit(endless) for _ in range(3)]
    pool.close()
    for future in waiting:
        with pytest.raises(EnvironmentFault, match="closed"):
            future.result(60)
    assert not multiprocessing.active_children()


class Unbuildable(Corridor):
    def make(self, num_envs: int) -> Any:
        raise RuntimeError("no display")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_environment_that_cannot_be_built_is_named(workers: int) -> None:
    with pytest.raises(EnvironmentFault, match="Unbuildable") as caught:
        make_pool(Unbuildable(CorridorOptions()), Walker(0.5), TERMS, workers=workers)
    assert "no display" in str(caught.value)
    assert not multiprocessing.active_children()


class Telling(Corridor):
    """Refuses to be built, and tells with how many processes it would share its cores."""

    def make(self, num_envs: int) -> Any:
        raise EnvironmentFault(f"{sharing_cores()} processes")


@pytest.mark.parametrize(("workers", "told"), [(0, "1 processes"), (3, "3 processes")])
def test_workers_know_with_how_many_they_share_the_cores(workers: int, told: str) -> None:
    with pytest.raises(EnvironmentFault, match=told):
        make_pool(Telling(CorridorOptions()), Walker(0.5), TERMS, workers)


def test_what_a_rollout_saw_survives_being_sent() -> None:
    player = Player(corridor(), Walker(0.5), 4, TERMS)
    (traced,) = outcomes(player, job(trace=True))
    (plain,) = outcomes(player, job())
    player.close()
    rollout, back = traced.candidates[0], pickle.loads(pickle.dumps(traced)).candidates[0]
    assert len(back.seen) == len(rollout.seen) == rollout.time > 0
    for (action, shown), (other_action, other_shown) in zip(rollout.seen, back.seen, strict=True):
        assert np.array_equal(action, other_action)
        assert np.array_equal(shown, other_shown)
        assert (action.dtype, shown.dtype) == (other_action.dtype, other_shown.dtype)
    assert (back.digests, back.rewards, back.end) == (rollout.digests, rollout.rewards, rollout.end)
    assert pickle.loads(pickle.dumps(plain)).candidates[0].seen == ()


def test_a_policy_that_was_sent_to_workers_keeps_its_weights_to_itself() -> None:
    world = create_environment("hopper")
    policy: Any = load_policy(world.policies()["suboptimal"], "hopper", world).policy
    seen = np.linspace(-1, 1, 44).reshape(4, 11)
    before = policy.act(seen, deterministic=True)  # looks at the weights as NumPy arrays from now on
    make_pool(world, policy, TERMS, workers=1, slots=2).close()
    assert not any(weight.is_shared() for weight in policy.actor_parameters())
    junk = [np.full(4096, np.nan, np.float32) for _ in range(200)]
    assert np.array_equal(policy.act(seen, deterministic=True), before), f"{len(junk)} arrays where its weights were"
