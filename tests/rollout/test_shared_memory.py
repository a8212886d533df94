from __future__ import annotations

import multiprocessing
import pickle
import threading
from typing import Any

import numpy as np
import pytest

from ultra_agents.errors import EnvironmentFault
from ultra_agents.registry import create_environment
from ultra_agents.rollout.shared_memory import Channel, StepSlot, shared_counters
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.testing.corridor import Corridor, CorridorOptions

CORRIDOR = create_environment("corridor")


def result(count: int) -> Any:
    ends = np.zeros(count, np.bool_)
    return np.full((count, 1), 0.5, np.float32), np.arange(count, dtype=np.float64), ends, ~ends, {}


def test_a_slot_returns_copies_of_what_was_written() -> None:
    slot = StepSlot(CORRIDOR, 3)
    assert slot.write_actions(np.array([1, 0, 1]))
    taken = slot.read_actions()
    assert slot.write_result(result(3))
    told = slot.read_result()
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(told[:4], result(3)[:4], strict=True))
    slot.write_actions(np.array([0, 0, 0]))
    assert taken.tolist() == [1, 0, 1]


def test_a_slot_refuses_another_shape_or_dtype_and_stays_as_it_was() -> None:
    slot = StepSlot(CORRIDOR, 2)
    assert slot.write_actions(np.array([1, 1]))
    for actions in (np.array([0, 0], np.int32), np.array([0, 0, 0]), [0, 0]):
        assert not slot.write_actions(actions)
    assert slot.read_actions().tolist() == [1, 1]
    observations, rewards, *rest = result(2)
    assert not slot.write_result((observations.astype(np.float64), rewards, *rest))
    assert not slot.write_result((observations, rewards.astype(np.float32), *rest))


@pytest.mark.parametrize("spin", [False, True])
def test_messages_and_notices_come_in_order_and_a_closed_pipe_raises(spin: bool) -> None:
    here, there = multiprocessing.get_context("spawn").Pipe()
    counters = shared_counters()
    one, other = Channel(here, counters, 0, spin), Channel(there, counters, 1, spin)

    def answer() -> None:
        for _ in range(4):
            other.send(("heard", other.receive()))
        other.close()

    thread = threading.Thread(target=answer)
    thread.start()
    one.send({"some": np.arange(3)})
    one.notify(0)
    one.notify(7)
    one.send((False, None))
    heard = [one.receive() for _ in range(4)]
    thread.join()
    assert [word for word, _ in heard] == ["heard"] * 4
    assert heard[0][1]["some"].tolist() == [0, 1, 2]
    assert [what for _, what in heard[1:]] == [0, 7, (False, None)]
    with pytest.raises(EOFError):
        one.receive()


def test_vain_spins_back_off_exponentially(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = multiprocessing.get_context("spawn").Pipe()
    counters, heard = shared_counters(), 0
    spins: list[int] = []
    one, other = Channel(here, counters, 0, True), Channel(there, counters, 1, True)

    def spun() -> bool:
        spins.append(heard)
        return heard >= 12

    monkeypatch.setattr(other, "_spun", spun)
    while heard < 16:
        one._pipe.send_bytes(b"\x00")  # uncounted: spinning cannot see it
        other.receive()
        other._received = 0
        heard += 1
    assert spins == [0, 2, 6, 14, 15]


def test_what_cannot_be_packed_leaves_the_channel_as_it_was() -> None:
    here, there = multiprocessing.get_context("spawn").Pipe()
    counters = shared_counters()
    one, other = Channel(here, counters, 0, True), Channel(there, counters, 1, True)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        one.send(lambda: None)
    one.notify(3)
    assert other.receive() == 3


def test_a_single_worker_leaves_the_second_half_to_this_process() -> None:
    before = set(multiprocessing.active_children())
    with make_simulators(CORRIDOR, 5, 1) as simulators:
        simulators.reset(seed=0)
        assert len(set(multiprocessing.active_children()) - before) == 1
        seen = []
        for kind in (np.int64, np.int32):  # in the slot, and in a message
            for half, envs in enumerate(simulators.halves):
                simulators.send_half(half, np.ones(envs.stop - envs.start, kind))  # type: ignore[attr-defined]
            seen.append([simulators.receive_half(half)[0][:, 0].tolist() for half in (0, 1)])  # type: ignore[attr-defined]
        assert seen == [[[0.25] * 2, [0.25] * 3], [[0.5] * 2, [0.5] * 3]]
    assert set(multiprocessing.active_children()) == before


class FailsHere(Corridor):
    """Raises on the second step, wherever it is stepped."""

    def make(self, num_envs: int) -> Any:
        envs: Any = super().make(num_envs)
        step, count = envs.step, iter(range(100))

        def failing(actions: Any) -> Any:
            if next(count) == 1:
                raise ValueError("lost")
            return step(actions)

        envs.step = failing
        return envs


def test_a_failing_half_is_told_and_the_rest_goes_on() -> None:
    with make_simulators(FailsHere(CorridorOptions()), 4, 1) as simulators:
        simulators.reset(seed=0)
        simulators.step(np.ones(4, int))
        with pytest.raises(EnvironmentFault, match=r"FailsHere.*failed") as caught:
            simulators.step(np.ones(4, int))
        assert caught.value.found == "ValueError: lost"
        assert simulators.step(np.ones(4, int))[0].tolist() == [[0.5]] * 4
        simulators.close()
        with pytest.raises(EnvironmentFault, match="closed"):
            simulators.step(np.ones(4, int))
