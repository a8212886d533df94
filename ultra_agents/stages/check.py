"""What can be refused of a run without a simulator, before a folder is made or anything is paid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from gymnasium.spaces import Discrete

from ultra_agents import postgres
from ultra_agents.config import AgentsConfig, Config, settled, variant_of
from ultra_agents.contracts import Algorithm, Environment, Policy, capabilities
from ultra_agents.errors import ConfigError, UltraError
from ultra_agents.llm.price_check import check_prices
from ultra_agents.methods import check_methods
from ultra_agents.plugin_calls import check_words
from ultra_agents.policies import Carried, load_policy
from ultra_agents.records import Trajectory
from ultra_agents.registry import create_environment, create_llm
from ultra_agents.rollout.store import load_trajectories
from ultra_agents.rules import interface_of, load_rules
from ultra_agents.seeding import Streams
from ultra_agents.training import Refining, carried_into, policy_file, refining


def build_plugins(
    config: Config, carried: Callable[[Environment], Carried] | None = None
) -> tuple[Environment, Algorithm, Refining]:
    """Build the environment and the algorithm a configuration names, if its methods can work with them.

    Args:
        config: The run's.
        carried: The settings that its starting policy was trained with; None: those in the policy's file.

    Raises:
        UltraError: Unknown plugin, unusable options or words, a method that lacks something, an oracle where
            nobody is expert.
    """
    environment = create_environment(config.environment.name, config.environment.options)
    check_words(environment)
    algorithm, settings = refining(config, (carried or partial(carried_into, config))(environment))
    check_methods(config, environment, algorithm)
    _check_oracle(config, environment)
    _check_search(config, environment)
    return environment, algorithm, settings


def check_run(config: Config, *, advised: bool | None = None) -> None:
    """Refuse a run that cannot work.

    Args:
        config: The run's.
        advised: Whether anybody is asked for advice; None: if a method uses it.

    Raises:
        UltraError: As `build_plugins`; or no policy there, one of another algorithm, episodes of another environment,
            unusable models or cassettes, a cap on money without prices, a database that cannot be reached.
    """
    environment, algorithm, _ = build_plugins(config)
    refine = config.refine
    if refine.num_envs > refine.steps:
        raise ConfigError(
            "a single step of all environments is more than the budget",
            found=f"refine.num_envs: {refine.num_envs}, refine.steps: {refine.steps}",
            expected="refine.num_envs of at most refine.steps",
        )
    if config.of_rules:
        _check_rules(config, environment)
    if config.proposer == "llm" and (any(map(variant_of, config.methods)) if advised is None else advised):
        _check_models(config)
        if isinstance(config.gateway.cache, str):
            postgres.check(config.gateway.cache, "the answer cache")
        if config.agents.checkpoints is not None:
            postgres.check(config.agents.checkpoints, "the checkpoint of the agents")
    if config.collect.folder is not None:
        recorded_episodes(config.collect.folder, config, environment)
    if (path := policy_file(config, environment)) is not None:
        starting_policy_at(path, config, environment, algorithm)


def recorded_episodes(folder: Path, config: Config, environment: Environment) -> list[Trajectory]:
    """The first `collect.episodes` in `folder`, if they can be of this environment.

    Raises:
        UltraError: There are none, one is damaged, or they are of other spaces.
    """
    made = load_trajectories(folder)[: config.collect.episodes]
    for one in made:
        for what, space, rows in (
            ("observations", environment.observation_space, one.observations),
            ("actions", environment.action_space, one.actions),
        ):
            known = not isinstance(space, Discrete) or all(space.contains(row) for row in rows)
            if rows.shape[1:] != space.shape or not known:  # bounds of numbers are not kept by every environment
                raise ConfigError(
                    f"episode {one.episode} in {folder} is not of the environment {config.environment.name!r}",
                    found=f"{what} of shape {rows.shape} and type {rows.dtype}",
                    expected=f"{what} in {space}",
                    hint="collect.folder takes the trajectories of a run in the same environment and options",
                )
    return made


def starting_policy_at(path: Path, config: Config, environment: Environment, algorithm: Algorithm) -> Policy:
    """The policy in `path`, if the configured algorithm can go on training it.

    Raises:
        UltraError: It cannot be read, or is of another algorithm.
    """
    loaded = load_policy(path, config.environment.name, environment)
    if loaded.alone is not loaded.policy:
        raise ConfigError(
            f"the policy {path.name} acts by rules, and a run begins with a policy alone",
            found="a policy file with rules",
            expected="a policy alone, with the rules as advice: proposer: file, advice.file: RULES.yaml",
            hint="ultra policy show prints its rules; the run that made it has the policy alone beside it",
        )
    wanted = config.refine.algorithm.name
    if loaded.algorithm != wanted and not _trains(loaded.policy, config, environment, algorithm):
        hint = f"--set refine.algorithm.name={loaded.algorithm}"
        if "imported_by" in (loaded.metadata.get("provenance") or {}) and algorithm.can_imitate:
            hint += f"; or import the original again with --algorithm {wanted}, which then imitates it"
        raise ConfigError(
            f"the algorithm {wanted!r} does not train policies of {loaded.algorithm!r}, which {path.name} is",
            found=f"refine.algorithm.name = {wanted}",
            expected=f"refine.algorithm.name = {loaded.algorithm}",
            hint=hint,
        )
    return loaded.policy


def untrained_policy(config: Config, environment: Environment, algorithm: Algorithm) -> Policy:
    """A policy as the configured algorithm makes them."""
    seed = Streams(config.seed).child("start").integer("weights")
    return algorithm.create_policy(environment.observation_space, environment.action_space, seed)


def _trains(policy: Policy, config: Config, environment: Environment, algorithm: Algorithm) -> bool:
    """Whether the configured algorithm knows such a policy as one of its own."""
    if not isinstance(policy, type(untrained_policy(config, environment, algorithm))):
        return False
    try:  # several algorithms may share a class of policies, and not train each other's
        algorithm.load_policy(*policy.state(), environment.observation_space, environment.action_space)
    except UltraError:
        return False
    return True


def _check_oracle(config: Config, environment: Environment) -> None:
    if config.proposer != "oracle":
        return
    if "expert" not in capabilities(environment):
        raise ConfigError(
            f"the environment {config.environment.name!r} has no expert, so there is no oracle",
            expected="proposer: llm, random, value or search",
        )
    longest = config.verification.longest_plan
    if config.agents.expert_steps > longest:
        raise ConfigError(
            "an oracle's plans are longer than the test of a suggestion can be",
            found=f"agents.expert_steps: {config.agents.expert_steps}",
            expected=f"at most {longest}",
            hint="lower agents.expert_steps, or raise verification.max_test_steps",
        )


def _check_search(config: Config, environment: Environment) -> None:
    """Refuse a search that cannot work.

    Raises:
        ConfigError: States cannot be restored, goals have nothing to speak of, the budget is below one rollout, plans
            are longer than a test can be, or suggestions are to be improved before a test that does not take place.
    """
    if not config.searches:
        return
    agents, search, goals = settled(config).agents, config.agents.search, config.form == "goals"
    bounds = agents.max_moves, agents.max_hold, agents.plan_steps
    verification, own = config.verification, config.proposer == "search" or goals
    if own and "snapshot" not in capabilities(environment):
        raise ConfigError(
            f"the environment {config.environment.name!r} cannot restore states, so nothing can be searched",
            found="advice.form: goals" if goals else "proposer: search",
            expected="an environment with snapshot and restore, or "
            + ("advice.form: moves or rules" if goals else "proposer: llm, random or value"),
        )
    if goals:
        _check_goals(config, environment, agents)
        return
    if search.max_steps < (least := search.one_rollout(*bounds)):
        raise ConfigError(
            "the budget of a search is below one rollout",
            found=f"agents.search.max_steps: {search.max_steps}",
            expected=f"at least {least}: the longest plan and its horizon, and the policy alone beside it",
            hint="raise agents.search.max_steps, or lower its horizon, moves or max_hold",
        )
    tests = verification.simulates
    if not own and not (tests and verification.decide != "joint"):
        raise ConfigError(
            "suggestions are improved before their test, and nothing is tested",
            found=f"agents.search.refine: true, verification.mode: {verification.mode}, decide: {verification.decide}",
            expected="verification.mode: simulate or both, and decide: single or both",
        )
    longest = search.longest(*bounds)
    if tests and longest > verification.longest_plan:
        raise ConfigError(
            "searched plans can be longer than the test of a suggestion",
            found=f"{longest} environment steps",
            expected=f"at most {verification.longest_plan}",
            hint="lower agents.search.moves or agents.search.max_hold, or raise verification.max_test_steps",
        )


def _check_goals(config: Config, environment: Environment, agents: AgentsConfig) -> None:
    """Goals have something to speak of, and the shortest one can be searched for."""
    if "quantities" not in capabilities(environment):
        raise ConfigError(
            f"goals have nothing to speak of in {environment.env_id!r}: its plugin offers no quantities",
            found="advice.form: goals",
            expected="an environment with quantities and legend, or advice.form: moves",
            hint="override both in the plugin (examples/write_an_environment_plugin.md)",
        )
    if config.agents.search.max_steps < (least := 2 * agents.min_hold):
        raise ConfigError(
            "the budget of a search is below one rollout",
            found=f"agents.search.max_steps: {config.agents.search.max_steps}",
            expected=f"at least {least}: the shortest goal, and the policy alone beside it",
            hint="raise agents.search.max_steps, or lower agents.min_hold",
        )


def _check_rules(config: Config, environment: Environment) -> None:
    """Rules have something to speak of, and those in a file fit."""
    interface = interface_of(environment)
    if config.advice.file is None:
        return
    rules = load_rules(config.advice.file, interface)
    if config.proposer == "constants" and not rules.constants:
        raise ConfigError(
            f"the rules {config.advice.file} declare no constants, so there is nothing to draw",
            expected="constants: {name: [value, low, high]}",
            hint="proposer: file takes them as they are",
        )


def _check_models(config: Config) -> None:
    models = {name: create_llm(llm.provider, llm.options) for name, llm in config.llms.items()}
    agents, first = config.agents, tuple(config.llms)[:1]
    asked = [name for role in (agents.identifier, agents.advisor, agents.critic) for name in role.names or first]
    for name in dict.fromkeys(asked):
        if models[name].recorded:
            models[name].check()
    check_prices(config.llms, config.gateway, asked)
