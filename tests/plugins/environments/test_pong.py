from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from ultra_agents_plugins.environments import _mlp
from ultra_agents_plugins.environments.pong import vector as _pong_vector
from ultra_agents_plugins.environments.pong.ram import Court, observe

from ultra_agents.errors import ConfigError, EnvironmentFault, PolicyError
from ultra_agents.registry import create_environment

STAY, UP, DOWN = 0, 1, 2


def test_ram_positions_are_where_the_screen_shows_them() -> None:
    pong = create_environment("pong")
    envs = pong.make(1)
    _, info = envs.reset(seed=[0])
    rng, seen = np.random.default_rng(0), 0
    for _ in range(300):
        _, _, _, _, info = envs.step(rng.integers(0, 3, 1))
        court = pong.render(envs, 0)[34:194].astype(int)
        ball = np.argwhere((court == (236, 236, 236)).all(-1))
        own = np.argwhere((court[:, 130:150] == (92, 186, 92)).all(-1))[:, 0]
        opponent = np.argwhere((court[:, 10:30] == (213, 130, 74)).all(-1))[:, 0]
        x, y = int(info["ball_x"][0]), int(info["ball_y"][0])
        if len(ball) == 8:  # 2 x 4 px, not cut by the edge of the court
            assert abs(ball[:, 1].mean() - x) <= 1
            assert abs(ball[:, 0].mean() + 34 - y) <= 1.5
            seen += 1
        if len(set(own)) == 16:
            assert abs(own.mean() + 34 - info["own_y"][0]) <= 1
        if len(set(opponent)) == 16:
            assert abs(opponent.mean() + 34 - info["opponent_y"][0]) <= 1
        if x < 0:
            assert y == -1
            assert len(ball) == 0
    assert seen > 50


def test_up_moves_the_paddle_up_and_down_moves_it_down() -> None:
    envs = create_environment("pong", {"noop_max": 0}).make(2)
    _, start = envs.reset(seed=[0, 1])
    for _ in range(6):
        _, _, _, _, info = envs.step([UP, DOWN])
    assert info["own_y"][0] < start["own_y"][0] - 20
    assert info["own_y"][1] > start["own_y"][1] + 20


def test_scores_follow_the_rewards() -> None:
    envs = create_environment("pong").make(2)
    _, info = envs.reset(seed=[0, 1])
    total = np.zeros(2)
    rng = np.random.default_rng(0)
    for _ in range(300):
        _, rewards, _, _, info = envs.step(rng.integers(0, 3, 2))
        total += rewards
        assert (info["own_score"] - info["opponent_score"] == total).all()
    assert (info["opponent_score"] >= 1).all()


def test_seeds_vary_the_start_and_nothing_else_varies() -> None:
    envs = create_environment("pong").make(4)
    envs.reset(seed=[1, 2, 3, 1])
    trace = np.stack([envs.step([UP] * 4)[0] for _ in range(40)])
    assert np.array_equal(trace[:, 0], trace[:, 3])
    assert not np.array_equal(trace[:, 0], trace[:, 1])


@pytest.mark.parametrize("options", [{}, {"sticky": 0.25}, {"frame_skip": 2}])
def test_restored_games_go_on_to_the_bit_across_the_reset(options: dict[str, float]) -> None:
    pong = create_environment("pong", {"max_steps": 150, **options})
    source, target = pong.make(2), pong.make(3)
    rng = np.random.default_rng(0)
    source.reset(seed=[4, 5])
    target.reset(seed=[7, 8, 9])
    for _ in range(70):
        source.step(rng.integers(0, 3, 2))
        target.step(rng.integers(0, 3, 3))
    (state,) = pong.snapshot(source, [1])
    assert len(state) < 500
    pong.restore(target, [2], [state])
    ends = 0
    for actions in rng.integers(0, 3, (200, 2)):
        a = source.step(actions)
        b = target.step([0, 1, actions[1]])
        for one, other in zip(a[:4], b[:4], strict=True):
            assert np.array_equal(one[1], other[2])
        for key in ("ball_x", "ball_y", "own_y", "opponent_y", "own_score", "opponent_score", "rally_steps"):
            assert a[4][key][1] == b[4][key][2]
        if a[3][1]:
            ends += 1
            assert np.array_equal(a[4]["final_obs"][1], b[4]["final_obs"][2])
    assert ends >= 1


def test_a_restored_game_is_drawn_as_it_is_not_as_it_was() -> None:
    pong = create_environment("pong", {"noop_max": 0})
    envs = pong.make(1)
    envs.reset(seed=[0])
    for _ in range(20):
        envs.step([UP])
    above, (state,) = pong.render(envs, 0), pong.snapshot(envs, [0])
    for _ in range(8):
        envs.step([DOWN])
    below = pong.render(envs, 0)
    pong.restore(envs, [0], [state])
    drawn = pong.render(envs, 0)
    differs = [int((frame[:, 138:146] != drawn[:, 138:146]).any(-1).sum()) for frame in (above, below)]
    assert differs[0] < differs[1]
    assert pong.snapshot(envs, [0]) == [state]


def test_what_is_no_snapshot_of_pong_is_refused() -> None:
    pong = create_environment("pong")
    envs = pong.make(1)
    envs.reset(seed=[0])
    (state,) = pong.snapshot(envs, [0])
    for bad in (b"", b"nonsense", state[:-1], b"XXXX" + state[4:]):
        with pytest.raises(EnvironmentFault, match="snapshot"):
            pong.restore(envs, [0], [bad])


def test_episodes_are_cut_at_the_limit_with_their_last_observation() -> None:
    envs = create_environment("pong", {"max_steps": 10}).make(2)
    envs.reset(seed=[0, 1])
    for _ in range(9):
        *_, terminated, truncated, info = envs.step([UP, UP])
        assert not terminated.any()
        assert not truncated.any()
        assert "final_obs" not in info
    observations, _, terminated, truncated, info = envs.step([UP, UP])
    assert truncated.all()
    assert not terminated.any()
    assert info["final_obs"][0][4] < observations[0][4]  # ended with the paddle up, starts again further down


def test_emulators_that_were_played_on_before_are_as_good_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    pong = create_environment("pong")

    def played(emulators: list[Any]) -> tuple[list[Any], list[bytes]]:
        envs: Any = pong.make(2)
        assert not emulators or set(envs._ales) <= set(emulators)
        emulators[:] = envs._ales
        seen = [envs.reset(seed=[5, 6])[0], *(envs.step(np.array([UP, step % 3]))[0] for step in range(200))]
        states = pong.snapshot(envs, [0, 1])
        assert np.array_equal(pong.restore(envs, [1], states[:1])[0], seen[-1][0])
        envs.close()
        return [one.tolist() for one in seen], states

    _pong_vector._idle.clear()
    used: list[Any] = []
    new = played(used)
    assert _pong_vector._idle == used
    assert played(used) == new
    monkeypatch.setattr(_pong_vector, "MOST_IDLE", 3)
    pong.make(4).close()
    assert len(_pong_vector._idle) == 3


def test_the_emulator_is_silent() -> None:
    code = "from ultra_agents.registry import create_environment\ncreate_environment('pong').make(1).reset(seed=[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def observation(
    ball: tuple[int, int], before: tuple[int, int], own: int, own_before: int, opponent: int
) -> np.ndarray:
    now, then = np.array([[*ball, own, opponent]]), np.array([[*before, own_before, opponent]])
    return observe(now, then, 4)[0]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            observation((100, 100), (96, 104), 110, 110, 60),
            "Ball 40 px from my paddle, coming at me and rising 4 px/step; it arrives in 10 steps, 50 px above my "
            "paddle's centre. My paddle is still.",
        ),
        (
            observation((100, 100), (104, 92), 110, 122, 60),
            "Ball 40 px from my paddle, going away, falling 8 px/step, now 10 px above my paddle's centre and 40 px "
            "below the opponent's. My paddle is moving up 12 px/step.",
        ),
        (
            observation((-1, -1), (-1, -1), 110, 110, 60),
            "No ball in play, the next serve is coming. My paddle is still.",
        ),
        (
            observation((150, 90), (146, 90), 120, 120, 60),
            "The ball has passed my paddle 30 px above its centre: this point is lost.",
        ),
        (
            observation((10, 90), (14, 90), 120, 120, 60),
            "The ball has passed the opponent's paddle: this point is won.",
        ),
    ],
)
def test_states_in_words(state: np.ndarray, text: str) -> None:
    assert create_environment("pong").describe(state, {}) == text


def test_words_stay_few() -> None:
    pong = create_environment("pong")
    space = pong.observation_space
    space.seed(0)
    assert max(len(pong.describe(space.sample(), {}).split()) for _ in range(500)) <= 35


def test_the_arrival_counts_bounces_off_the_walls() -> None:
    court = Court((100.0, 50.0), (4.0, -8.0), 110.0, 0.0, 60.0)
    steps, y, _ = court.arrival()
    assert steps == 10
    assert y == pytest.approx(35 + 30 * 2)  # 9 frames to 32, a bounce to 35, 30 frames down
    assert np.isnan(Court((100.0, 50.0), (-4.0, 0.0), 110.0, 0.0, 60.0).arrival()[:2]).all()


def test_stretches_have_names() -> None:
    pong = create_environment("pong")
    assert pong.segment_kind(np.array([0.0, -1.0])) == "point lost"
    assert pong.segment_kind(np.array([0.0, 1.0])) == "point won"
    assert pong.segment_kind(np.zeros(3)) == "rally"


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match="sticky"):
        create_environment("pong", {"sticky": 1.5})
    with pytest.raises(ConfigError, match="frameskip"):
        create_environment("pong", {"frameskip": 4})


def write_expert(path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = (9, 8, 8, 3)
    tensors = {"normalizer.mean": rng.normal(size=9), "normalizer.var": rng.uniform(0.5, 2, size=9)}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        tensors[f"actor.{2 * layer}.weight"] = rng.normal(size=(outputs, inputs))
        tensors[f"actor.{2 * layer}.bias"] = rng.normal(size=outputs)
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    save_file(tensors, path)
    return tensors


def test_the_expert_is_the_stored_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(_mlp, "POLICIES", tmp_path)
    tensors = {
        name: torch.tensor(values) for name, values in write_expert(tmp_path / "pong_expert.safetensors").items()
    }
    pong = create_environment("pong")
    assert dict(pong.policies()) == {"expert": tmp_path / "pong_expert.safetensors"}
    observations = np.random.default_rng(1).uniform(-1, 1, (64, 9)).astype(np.float32)
    scale = torch.sqrt(tensors["normalizer.var"] + 1e-8)
    hidden = ((torch.tensor(observations) - tensors["normalizer.mean"]) / scale).clip(-10, 10)
    for layer in (0, 2, 4):
        hidden = torch.nn.functional.linear(hidden, tensors[f"actor.{layer}.weight"], tensors[f"actor.{layer}.bias"])
        hidden = torch.tanh(hidden) if layer < 4 else hidden
    actions = pong.expert()(observations)
    assert len(set(actions.tolist())) == 3
    assert np.array_equal(actions, hidden.argmax(-1).numpy())


def test_a_missing_or_damaged_expert_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_mlp, "POLICIES", tmp_path)
    pong = create_environment("pong")
    assert dict(pong.policies()) == {}
    with pytest.raises(PolicyError, match="not installed") as caught:
        pong.expert()
    assert caught.value.hint
    (tmp_path / "pong_expert.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(PolicyError, match="cannot be used"):
        pong.expert()
