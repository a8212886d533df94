"""Small spaces, environments and trainers for tests of PPO."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from ultra_agents_plugins.algorithms.ppo import PPO

from ultra_agents.contracts import Modulated
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

OBS, DISCRETE = Box(-5, 5, (3,), np.float32), Discrete(4)
CONTINUOUS = Box(np.array([-0.5, -1.0], np.float32), np.array([0.5, 1.0], np.float32))


class Reach(gymnasium.vector.VectorEnv):
    """Continuous: reward is minus the distance between action and observation; truncated after 5 steps."""

    can_snapshot = True

    def __init__(self, num_envs=4):
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = Box(-1, 1, (2,), np.float32), CONTINUOUS
        self.seen = []

    def reset(self, *, seed=None, options=None):
        self.rngs = [np.random.default_rng(one) for one in seed]
        self.clock = np.zeros(self.num_envs, np.int64)
        self.obs = np.stack([rng.uniform(-1, 1, 2).astype(np.float32) for rng in self.rngs])
        return self.obs.copy(), {}

    def step(self, actions):
        self.seen.append(np.array(actions))
        rewards = -np.abs(actions - self.obs).sum(axis=1).astype(np.float64)
        self.clock += 1
        ended = self.clock >= 5
        self.obs = np.stack([rng.uniform(-1, 1, 2).astype(np.float32) for rng in self.rngs])
        final = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(ended):
            final[i] = self.obs[i].copy()
            self.obs[i] = self.rngs[i].uniform(-1, 1, 2)
        self.clock[ended] = 0
        infos = {"final_obs": final} if ended.any() else {}
        return self.obs.copy(), rewards, np.zeros_like(ended), ended, infos

    def snapshot(self, indices):
        state = [self.rngs[i].bit_generator.state["state"] for i in indices]
        return [repr((s["state"], s["inc"], int(self.clock[i]), self.obs[i].tolist())).encode()
                for s, i in zip(state, indices, strict=True)]  # fmt: skip

    def restore(self, indices, snapshots):
        import ast

        for i, data in zip(indices, snapshots, strict=True):
            state, inc, clock, obs = ast.literal_eval(data.decode())
            whole = self.rngs[i].bit_generator.state
            self.rngs[i].bit_generator.state = {**whole, "state": {"state": state, "inc": inc}}
            self.clock[i], self.obs[i] = clock, obs
        return self.obs[list(indices)]


class Fixed:
    """A modulation that suggests one action everywhere, follows it with the given chance, and pays a bonus."""

    def __init__(self, learn, action=1, chance=1.0, bonus=0.0):
        self.learn, self.action, self.chance, self.bonus = learn, action, chance, bonus
        self.progress, self.next_observations, self.begun = [], [], []
        self.rng = np.random.default_rng(0)

    def begin(self, num_envs):
        self.begun.append(num_envs)

    def set_progress(self, progress):
        self.progress.append(progress)

    def act(self, observations, actions):
        n = len(actions)
        suggested = np.full_like(actions, self.action)
        followed = self.rng.random(n) < self.chance
        shape = (n,) + (1,) * (actions.ndim - 1)
        executed = np.where(followed.reshape(shape), suggested, actions)
        return Modulated(executed, np.ones(n, bool), followed, np.full(n, self.chance), suggested, np.ones(n))

    def behaviour_log_prob(self, policy_log_prob, modulated):
        if self.learn != "mixture":
            return policy_log_prob
        hit = modulated.actions == modulated.suggested
        return np.log((1 - self.chance) * np.exp(policy_log_prob) + self.chance * hit)

    def reward(self, rewards, modulated, next_observations, ended):
        self.next_observations.append((next_observations.copy(), np.array(ended)))
        return rewards + self.bonus

    def metrics(self):
        return {"hit_rate": 1.0}

    def state(self):
        return {"rng": self.rng.bit_generator.state}

    def load_state(self, state):
        self.rng.bit_generator.state = state["rng"]


def corridor(num_envs=8, **options):
    return make_simulators(create_environment("corridor", options), num_envs)


def trainer_on(envs, total=4096, modulation=None, fresh=True, seed=0, policy=None, **options):
    algorithm = PPO(PPO.Options(**{"num_steps": 32, **options}))
    policy = policy or algorithm.create_policy(envs.single_observation_space, envs.single_action_space, seed)
    return algorithm.trainer(policy, envs, total, Streams(seed), modulation, fresh)


def weights(trainer):
    return trainer.policy.state()[0]


def same(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)
