"""None"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from ultra_agents_plugins.environments.mujoco import vector

from ultra_agents.contracts import vector as contract
from ultra_agents.errors import EnvironmentFault
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import make_simulators

TASKS = {"hopper": "Hopper-v5", "walker2d": "Walker2d-v5", "half-cheetah": "HalfCheetah-v5", "reacher": "Reacher-v5"}


def torques(envs: Any, steps: int, seed: int = 0) -> np.ndarray:
    shape = (steps, *envs.action_space.shape)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("name", TASKS)
def test_bit_identical_to_gymnasium_across_episodes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings about Gymnasium's model of the cheetah there
    ours = create_environment(name, {"vector": "native"}).make(2)
    theirs = gymnasium.make_vec(
        TASKS[name],
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.single_action_space == theirs.single_action_space
    assert np.array_equal(ours.reset(seed=[3, 14])[0], theirs.reset(seed=[3, 14])[0])
    ended = 0
    for actions in torques(ours, 1010 if name == "half-cheetah" else 200):
        a, b = ours.step(actions), theirs.step(actions)
        for one, other in zip(a[:4], b[:4], strict=True):
            assert np.array_equal(one, other)
        for index in np.flatnonzero(a[2] | a[3]):
            assert np.array_equal(a[4]["final_obs"][index], b[4]["final_obs"][index])
            ended += 1
        if "x_position" in b[4] and not (a[2] | a[3]).any():
            assert np.array_equal(a[4]["x_position"], b[4]["x_position"])
            assert np.array_equal(a[4]["x_velocity"], b[4]["x_velocity"])
    assert ended >= 2
    ours.close()
    theirs.close()


@pytest.mark.parametrize("name", ["hopper", "reacher"])
def test_all_ways_of_stepping_agree_to_the_bit(name: str) -> None:
    played = {}
    for way in ("sync", "native", "async"):
        environment = create_environment(name, {"vector": way})
        with make_simulators(environment, 3) as simulators:
            simulators.reset(seed=[5, 6, 7])
            rows = []
            for step, actions in enumerate(torques(simulators, 60)):
                rows.append(np.concatenate([part.ravel() for part in simulators.step(actions)[:4]]))
                if step == 20:
                    saved = simulators.snapshot([1])
                if step == 40:
                    rows.append(simulators.restore([2], saved).ravel())
        played[way] = rows
    for way in ("native", "async"):
        assert all(np.array_equal(a, b) for a, b in zip(played["sync"], played[way], strict=True))


@pytest.mark.parametrize(("name", "line"), [("hopper", 0.6), ("walker2d", 0.6), ("half-cheetah", 5.0)])
def test_sparse_pays_the_dense_reward_beyond_the_line_and_nothing_before(name: str, line: float) -> None:
    dense = create_environment(name).make(2)
    sparse = create_environment(name, {"reward": "sparse"}).make(2)
    for envs in (dense, sparse):
        envs.reset(seed=[1, 2])
        envs.qpos[:, 0] = line - 0.5, line + 0.5
    for actions in torques(dense, 5):
        want, got = dense.step(actions)[1], sparse.step(actions)[1]
        assert got[0] == 0
        assert got[1] == want[1] != 0


def test_the_sparse_reacher_pays_for_every_step_within_the_radius() -> None:
    environment = create_environment("reacher", {"reward": "sparse", "radius": 0.05})
    assert environment.env_id == "Reacher-v5-sparse-radius0.05"
    envs = environment.make(64)
    _, info = envs.reset(seed=list(range(64)))
    paid = 0.0
    for actions in torques(envs, 49):
        _, rewards, _, _, info = envs.step(actions)
        assert np.array_equal(rewards, (info["distance"] <= 0.05).astype(float))
        paid += rewards.sum()
    assert 0 < paid < 64 * 49 / 4


@pytest.mark.parametrize("name", TASKS)
def test_restored_worlds_go_on_to_the_bit_over_the_time_limit(name: str) -> None:
    environment = create_environment(name, {"max_steps": 15, "vector": "native"})
    source, target = environment.make(1), create_environment(name, {"max_steps": 15}).make(3)
    source.reset(seed=[0])
    target.reset(seed=[1, 2, 3])
    for actions in torques(source, 11):
        source.step(actions)
    restored = environment.restore(target, [1], environment.snapshot(source, [0]))
    assert np.array_equal(restored[0], source.observe()[0])
    ends = 0
    for actions in torques(target, 70, seed=1):
        a, b = source.step(actions[1:2]), target.step(actions)
        assert np.array_equal(a[0][0], b[0][1])
        assert (a[1][0], a[2][0], a[3][0]) == (b[1][1], b[2][1], b[3][1])
        assert all(np.array_equal(a[4][key][0], b[4][key][1]) for key in a[4] if key[0] != "_")
        ends += int(a[3][0])
    assert ends >= 2
    source.close()


def test_a_snapshot_holds_the_warm_start_of_the_solver() -> None:
    """Positions and velocities alone go another way: that is why they are not enough."""
    environment = create_environment("hopper")
    source, full, half = (environment.make(1) for _ in range(3))
    source.reset(seed=[0])
    for actions in torques(source, 18):
        source.step(actions)
    environment.restore(full, [0], environment.snapshot(source, [0]))
    environment.restore(half, [0], environment.snapshot(source, [0]))
    half._batch.bind("qacc_warmstart")[0] = 0
    differs = False
    for actions in torques(source, 25, seed=1):
        want, got, other = (envs.step(actions)[0] for envs in (source, full, half))
        assert np.array_equal(want, got)
        differs |= not np.array_equal(want, other)
    assert differs


class OneDataPerWorld:
    """The reference for `mujoco.batch`: an `MjData` for each of `envs`, stepped one after another."""

    def __init__(self, envs: Any) -> None:
        self.model, self.frame_skip = envs.model, envs.physics.frame_skip
        self.datas = [mujoco.MjData(envs.model) for _ in range(envs.num_envs)]

    def rows(self) -> np.ndarray:
        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        found = np.empty((len(self.datas), mujoco.mj_stateSize(self.model, spec)))
        for row, data in zip(found, self.datas, strict=True):
            mujoco.mj_getState(self.model, data, row, spec)
        return found

    def put(self, index: int, row: np.ndarray) -> None:
        mujoco.mj_setState(self.model, self.datas[index], row, mujoco.mjtState.mjSTATE_INTEGRATION)

    def begin(self, index: int, row: np.ndarray) -> None:
        """A reset to the positions and velocities of `row`, the state of a world whose episode has just begun."""
        first = mujoco.MjData(self.model)
        mujoco.mj_setState(self.model, first, row, mujoco.mjtState.mjSTATE_INTEGRATION)
        data = self.datas[index]
        mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = first.qpos, first.qvel
        mujoco.mj_forward(self.model, data)

    def step(self, actions: np.ndarray, which: Any) -> None:
        for index in which:
            self.datas[index].ctrl[:] = actions[index]
            mujoco.mj_step(self.model, self.datas[index], self.frame_skip)


@pytest.mark.parametrize("way", ["sync", "native"])
@pytest.mark.parametrize("name", TASKS)
def test_the_batch_is_one_mjdata_per_world_to_the_bit(
    name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through episodes that end, idle worlds, states put back midway, and worlds that MuJoCo finds unstable."""
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its warnings
    monkeypatch.setattr(contract, "cores", lambda: 3)
    envs = create_environment(name, {"max_steps": 25, "vector": way}).make(5)
    assert envs._batch.nthread == (3 if way == "native" else 1)
    loop, velocity, ended = OneDataPerWorld(envs), envs._batch.bind("qvel"), 0
    envs.reset(seed=[1, 2, 3, 4, 5])
    for index in range(5):
        loop.begin(index, envs._batch.state[index])
    saved = envs.snapshot(2), envs._batch.state[2].copy()
    for step, actions in enumerate(torques(envs, 90)):
        envs.idle[:] = [step % 7 == 3, False, False, step % 5 == 1, False]
        if step == 31:
            saved = envs.snapshot(2), loop.rows()[2]
        if step in (20, 47):
            envs.restore([4, 1], [saved[0], saved[0]])
            loop.put(4, saved[1])
            loop.put(1, saved[1])
        if step in (50, 60, 70):
            bad = {50: np.nan, 60: 1e12, 70: -np.inf}[step]
            velocity[3, 1] = loop.datas[3].qvel[1] = bad
        if step == 81:
            actions[0, 0] = np.nan
        result = envs.step(actions)
        loop.step(actions, envs.active)
        for index in np.flatnonzero(result[2] | result[3]):
            loop.begin(index, envs._batch.state[index])
            ended += 1
        assert envs._batch.state.tobytes() == loop.rows().tobytes(), step
    assert ended > 9
    assert (tmp_path / "MUJOCO_LOG.TXT").read_text().count("CTRL") == 2


@pytest.mark.parametrize("name", TASKS)
def test_snapshots_of_earlier_versions_are_restored(name: str) -> None:
    """They have the doubles deflated."""
    environment = create_environment(name)
    envs = environment.make(2)
    envs.reset(seed=[0, 1])
    for actions in torques(envs, 5):
        envs.step(actions)
    new = envs.snapshot(0)
    head, body = new[: vector._HEADER.size], new[vector._HEADER.size :]
    old = b"MJC1" + head[4:] + zlib.compress(body, 1)
    assert np.array_equal(environment.restore(envs, [1], [old])[0], envs.observe()[0])
    assert envs.snapshot(1) == new
    with pytest.raises(EnvironmentFault, match="damaged"):
        environment.restore(envs, [1], [old[:-3]])


def test_what_is_no_snapshot_is_refused() -> None:
    hopper, walker = create_environment("hopper"), create_environment("walker2d")
    envs, others = hopper.make(1), walker.make(1)
    envs.reset(seed=[0])
    others.reset(seed=[0])
    (good,) = hopper.snapshot(envs, [0])
    for bad, says in ((b"", "not a snapshot"), (good[:-3], "damaged"), (b"XXXX" + good[4:], "not a snapshot")):
        with pytest.raises(EnvironmentFault, match=says):
            hopper.restore(envs, [0], [bad])
    with pytest.raises(EnvironmentFault, match="another model"):
        hopper.restore(envs, [0], walker.snapshot(others, [0]))
    before = hopper.snapshot(envs, [0])
    assert np.array_equal(hopper.restore(envs, [0], [good])[0], envs.observe()[0])
    assert hopper.snapshot(envs, [0]) == before == [good]


@pytest.mark.parametrize(
    ("name", "action", "hip", "knee", "way"),
    [("hopper", "hip=1", "thigh_joint", "leg_joint", 1), ("hopper", "hip=-1", "thigh_joint", "leg_joint", -1),
     ("walker2d", "left_hip=1", "thigh_left_joint", "leg_left_joint", 1),
     ("half-cheetah", "front_hip=1", "fthigh", "fshin", -1), ("half-cheetah", "back_hip=-1", "bthigh", "bshin", 1)],
)  # fmt: skip
def test_torques_swing_the_part_below_the_way_the_brief_says(
    name: str, action: str, hip: str, knee: str, way: int
) -> None:
    environment = create_environment(name)
    said = "positive swings the part below the joint " + ("forward" if name != "half-cheetah" else "backward")
    assert said in environment.brief.actions
    envs = environment.make(1)
    envs.reset(seed=[0])
    envs.qpos[0, 1] += 0.5  # in the air, where only the torque moves the leg
    if name != "half-cheetah":
        envs.qpos[0, 3:] = -0.5  # off the joints' stops
        envs.qvel[0] = 0

    def ahead() -> float:
        data = mujoco.MjData(envs.model)
        data.qpos[:] = envs.qpos[0]
        mujoco.mj_forward(envs.model, data)
        return float(data.joint(knee).xanchor[0] - data.joint(hip).xanchor[0])

    start = ahead()
    for _ in range(2):
        assert not envs.step(environment.actions.encode(action)[None])[2][0]
    moved = ahead() - start
    assert np.sign(moved) == way
    assert abs(moved) > 0.001


def test_the_describer_tells_what_is_measured() -> None:
    hopper = create_environment("hopper")
    state = np.array([1.21, 0.09, -0.35, -0.7, 0.2, 1.5, -0.6, 0.5, 1.0, -2.0, 0.0])
    told = hopper.describe(state, {"x_position": 2.345})
    assert told == (
        "Torso 1.21 m high, leaning 5° forward and tipping forward at 29°/s, moving forward at 1.5 m/s, falling at "
        "0.6 m/s, at x = 2.35 m; foot 12 cm up; hip -20° (+57°/s), knee -40° (-115°/s), ankle 11° (+0°/s)."
    )
    state[1] = -0.17
    assert "leaning 10° back" in hopper.describe(state, {})
    assert "only 2° from falling over" in hopper.describe(state, {})
    assert "x =" not in hopper.describe(state, {})
    state[1] = 0.21
    assert ": fallen;" in hopper.describe(state, {})
    cheetah = create_environment("half-cheetah")
    assert cheetah.describe(np.zeros(17), {}).startswith(
        "Torso at standing height, upright, moving forward at 0.0 m/s"
    )
    reacher = create_environment("reacher")
    at_rest = np.array([1, 1, 0, 0, 0.15, 0.0, 0, 0, 0.06, 0.0])
    assert reacher.describe(at_rest, {}).startswith(
        "Fingertip 6.0 cm from the target, which lies 0° counter-clockwise of it and 6.0 cm farther in"
    )


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_words_and_features_stay_finite(name: str, value: float) -> None:
    environment = create_environment(name)
    state = np.full(environment.observation_space.shape, value)
    told = environment.describe(state, {"x_position": value})
    assert "nan" not in told
    assert "inf" not in told
    assert len(told) < 500
    assert np.isfinite(environment.features(state[None])).all()


def test_actions_can_be_written_freely() -> None:
    codec = create_environment("hopper").actions
    assert codec.encode("hip=0.4 knee=-0.2").tolist() == pytest.approx([0.4, -0.2, 0.0])
    assert codec.encode("ankle=1, hip=-.5").tolist() == [-0.5, 0.0, 1.0]
    assert codec.encode("rest").tolist() == [0, 0, 0]
    assert codec.decode(np.array([0.9, -0.8, 0.1])) == "hip=1 knee=-1"
    for bad in ("", "hip", "hip=", "hip=2", "hip=nan", "toe=1", "hip=1 hip=1", "hip=1 rest", "hip=1 knee"):
        with pytest.raises(KeyError):
            codec.encode(bad)


def test_the_arm_moves_as_the_brief_says() -> None:
    envs = create_environment("reacher").make(1)
    envs.reset(seed=[0])
    envs.qvel[0, 0] = 10.0
    for _ in range(49):
        envs.step(np.zeros((1, 2)))
    assert envs.qvel[0, 0] / 10 == pytest.approx(1 / 3, abs=0.1)
    envs.reset(seed=[0])
    before = envs.qvel[0, 0]
    envs.step(np.array([[1.0, 0.0]]))
    assert np.degrees(envs.qvel[0, 0] - before) == pytest.approx(200, abs=40)


@pytest.mark.parametrize("name", TASKS)
def test_frames_show_the_pose_and_leave_the_world_alone(name: str) -> None:
    environment = create_environment(name)
    envs, twin = environment.make(1), environment.make(1)
    envs.reset(seed=[0])
    twin.reset(seed=[0])
    first = environment.render(envs, 0)
    for actions in torques(envs, 20):
        same = np.array_equal(environment.render(envs, 0), environment.render(envs, 0))
        assert same
        assert np.array_equal(envs.step(actions)[0], twin.step(actions)[0])
    assert (environment.render(envs, 0) != first).any(axis=2).sum() > 30
