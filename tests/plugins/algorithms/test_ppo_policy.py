"""PPO's policy: how it acts, is copied, normalises, and which spaces it takes."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from ultra_agents_plugins.algorithms.ppo import PPO

from tests.plugins.algorithms.sample_ppo import CONTINUOUS, DISCRETE, OBS, same
from ultra_agents.errors import PluginError, PolicyError


def test_initial_weights_do_not_depend_on_how_many_threads_torch_has():
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(PPO(PPO.Options()).create_policy(OBS, DISCRETE, 0).state()[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert same(*made)


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_a_row_does_not_depend_on_its_neighbours(space):
    policy = PPO(PPO.Options()).create_policy(OBS, space, 3)
    rng = np.random.default_rng(0)
    for parameter in policy.actor_parameters():
        parameter.data += torch.from_numpy(rng.normal(0, 0.5, parameter.shape).astype(np.float32))
    obs, uniforms = rng.normal(size=(53, 3)).astype(np.float32), rng.random((53, 2))
    whole_actions, whole_values = policy.act_with_uniforms(obs, uniforms), policy.value(obs)
    outputs = policy.actor_outputs(policy.normalize(obs))
    for size in (1, 3, 16, 17, 40):
        for start in range(0, 53 - size, 5):
            part = slice(start, start + size)
            assert np.array_equal(policy.actor_outputs(policy.normalize(obs[part])), outputs[part])
            assert np.array_equal(policy.act_with_uniforms(obs[part], uniforms[part]), whole_actions[part])
            assert np.array_equal(policy.value(obs[part]), whole_values[part])


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_numpy_and_torch_agree_on_log_probabilities(space):
    policy = PPO(PPO.Options()).create_policy(OBS, space, 3)
    rng = np.random.default_rng(0)
    normalized = policy.normalize(rng.normal(size=(20, 3)))
    outputs = policy.actor_outputs(normalized)
    actions = policy.sample(outputs, policy.uniforms(rng, 20))
    (learnt,), entropies = policy.log_prob_and_entropy(torch.from_numpy(normalized), torch.from_numpy(actions))
    distribution = (
        torch.distributions.Categorical(logits=torch.from_numpy(outputs))
        if space is DISCRETE
        else torch.distributions.Independent(
            torch.distributions.Normal(torch.from_numpy(outputs), policy.log_std.detach().exp()), 1
        )
    )
    expected = distribution.log_prob(torch.from_numpy(actions)).numpy()
    np.testing.assert_allclose(policy.log_prob(outputs, actions), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(learnt.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropies.detach().numpy(), distribution.entropy().numpy(), rtol=1e-4, atol=1e-5)


def test_discrete_sampling_follows_the_softmax():
    policy = PPO(PPO.Options()).create_policy(OBS, DISCRETE, 0)
    policy.actor[-1].bias.data = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    policy.__dict__.pop("_views", None)
    policy.actor[-1].weight.data.zero_()
    obs = np.zeros((4, 3), np.float32)
    assert policy.act_with_uniforms(obs, np.array([[0.09], [0.11], [0.59], [0.61]])).tolist() == [0, 1, 2, 3]
    assert policy.act(obs, deterministic=True).tolist() == [3] * 4
    draws = policy.act(np.zeros((20_000, 3), np.float32), np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(draws) / 20_000, [0.1, 0.2, 0.3, 0.4], atol=0.015)


def test_continuous_sampling_is_the_gaussians_quantile_and_stays_in_bounds():
    policy = PPO(PPO.Options()).create_policy(OBS, CONTINUOUS, 0)
    obs = np.zeros((1, 3), np.float32)
    mean = policy.actor_outputs(policy.normalize(obs))[0]
    assert np.allclose(policy.act_with_uniforms(obs, np.full((1, 2), 0.5))[0], mean)
    raw = policy.sample(mean[None], np.full((1, 2), 0.8413447460685429))[0]
    np.testing.assert_allclose(raw - mean, [0.5, 1.0], rtol=1e-5)  # one standard deviation: half the range
    assert np.array_equal(policy.act_with_uniforms(obs, np.array([[0.0, 1.0]]))[0], [-0.5, 1.0])


def test_a_copy_and_a_pickle_act_alike_and_stand_alone():
    import copy

    policy = PPO(PPO.Options()).create_policy(OBS, DISCRETE, 0)
    obs = np.ones((2, 3), np.float32)
    before = policy.value(obs)
    for twin in (policy.copy(), copy.deepcopy(policy)):
        assert np.array_equal(twin.value(obs), before)
        twin.critic[-1].bias.data += 1
        np.testing.assert_allclose(twin.value(obs), before + 1, rtol=1e-5)
        assert np.array_equal(policy.value(obs), before)


def test_normalizer_is_the_mean_and_variance_of_all_it_saw():
    policy = PPO(PPO.Options()).create_policy(OBS, DISCRETE, 0)
    rows = np.random.default_rng(0).normal(3, 2, (100, 3))
    for part in np.array_split(rows, 3):
        policy.update_normalizer(part)
    np.testing.assert_allclose(policy.mean, rows.mean(axis=0))
    np.testing.assert_allclose(policy.var, rows.var(axis=0))
    assert policy.normalize(np.full((1, 3), 1e6)).tolist() == [[10, 10, 10]]


def test_unknown_spaces_are_refused():
    algorithm = PPO(PPO.Options())
    for obs, act in ((Dict({}), DISCRETE), (OBS, Discrete(3, start=1)), (OBS, Box(0, 1, (2, 2)))):
        with pytest.raises(PluginError, match="ppo takes"):
            algorithm.create_policy(obs, act, 0)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda a: a.pop("actor.0.bias"), "architecture"),
        (lambda a: a.update(extra=np.zeros(1)), "architecture"),
        (lambda a: a.update({"actor.0.bias": np.zeros(3, np.float32)}), "wrong shape"),
        (lambda a: a.update({"actor.0.bias": np.full(64, np.nan, np.float32)}), "not finite"),
    ],
)
def test_policies_that_do_not_fit_are_refused(spoil, word):
    algorithm = PPO(PPO.Options())
    arrays, description = algorithm.create_policy(OBS, DISCRETE, 0).state()
    spoil(arrays)
    with pytest.raises(PolicyError, match=word):
        algorithm.load_policy(arrays, description, OBS, DISCRETE)


def test_the_state_dict_has_the_documented_keys():
    arrays, description = PPO(PPO.Options(hidden=(8, 8))).create_policy(OBS, CONTINUOUS, 0).state()
    nets = {f"{net}.{i}.{part}" for net in ("actor", "critic") for i in (0, 2, 4) for part in ("weight", "bias")}
    assert set(arrays) == nets | {"log_std", "normalizer.mean", "normalizer.var", "normalizer.count"}
    assert description["hidden"] == [8, 8]
