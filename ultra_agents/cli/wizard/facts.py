"""What the wizard asks about: plugins, models, speed, cost, the file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ultra_agents.cli.wizard.write_yaml import options_of, settings_of, text_of
from ultra_agents.errors import ConfigError, UltraError
from ultra_agents.ui.text import about, count
from ultra_agents.ui.wizard.answers import Answers, Checked, EnvironmentFact, Labelled, MethodFact, ProviderFact, Speed

if TYPE_CHECKING:
    from ultra_agents.config import Config

ASKS = 3
"""Structured questions to the model; `ultra llm check` asks ten."""
LOOK_S = 1.5
"""Seconds of learning from which the speed is taken."""
REPLY_TOKENS, PROMPT_TOKENS = 90, 600
"""Tokens of a typical reply; of a prompt beside the narration (measured on Pong)."""


class RegistryFacts:
    """Facts from the registry, the models and the simulators of this machine."""

    def __init__(self) -> None:
        self.environment = cache(self._environment)
        self.providers = cache(self._providers)

    def environments(self) -> tuple[str, ...]:
        """Names of the registered environments, Pong first, the one for tests last."""
        from ultra_agents.registry import catalogue

        names = dict.fromkeys(row.name for row in catalogue() if row.kind == "environment")
        order = {"pong": -1, "gymnasium": 1, "corridor": 2}
        return tuple(sorted(names, key=lambda name: (order.get(name, 0), name)))

    def methods(self, answers: Answers) -> tuple[MethodFact, ...]:
        """Every method a configuration may name, and which of them this environment cannot have."""
        from ultra_agents.config import default_baseline, parse_config, usable_methods
        from ultra_agents.methods import method_of, terms_of
        from ultra_agents.registry import create_algorithm, create_environment

        config = parse_config(settings_of(replace(answers, methods=(default_baseline(),))), "the configuration")
        environment = create_environment(config.environment.name, config.environment.options)
        algorithm = create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options)
        terms = terms_of(config, environment, algorithm)

        def problem(name: str) -> str:
            try:
                return "; ".join(method_of(config, name).missing(terms))
            except UltraError as error:  # two distributions claim the name, or it has an option without a default
                return error.problem

        return tuple(
            MethodFact(name, cls.about, problem(name), cls.advice is not None)
            for name, cls in usable_methods().items()
        )

    def _environment(self, name: str) -> EnvironmentFact:
        from ultra_agents.contracts import capabilities
        from ultra_agents.registry import create_environment

        try:
            environment = create_environment(name)
            offered, brief = capabilities(environment), environment.brief
            policies = tuple(environment.policies()) if "policies" in offered else ()
        except UltraError as error:
            found = f" ({error.found})" if error.found else ""
            return EnvironmentFact(name, problem=f"{error.problem}{found}; do: {error.hint}" if error.hint else
                                   f"{error.problem}{found}")  # fmt: skip
        except Exception as error:  # somebody's plugin
            return EnvironmentFact(name, problem=f"the plugin failed: {type(error).__name__}: {error}")
        rows = [
            ("Goal", brief.goal), ("Actions", brief.actions), ("Reward", brief.reward), ("Dynamics", brief.dynamics),
            ("Ends", brief.termination),
        ]  # fmt: skip
        tested = "yes" if "snapshot" in offered else "no: its states cannot be restored, the critic decides alone"
        return EnvironmentFact(
            name,
            (*rows, ("Advice is tested in the simulator", tested)),
            tuple(sorted(policies, key=lambda policy: (policy == "expert", policy != "suboptimal", policy))),
            "expert" in offered,
            "quantities" in offered,
        )

    def _providers(self) -> tuple[ProviderFact, ...]:
        from ultra_agents.cli.llm.list_providers import readiness
        from ultra_agents.registry import catalogue, find

        found = []
        for row in catalogue():
            if row.kind != "llm":
                continue
            ready = readiness(row.name, row.distribution)
            try:
                fields = find("llm", row.name).load().Options.model_fields
            except UltraError:
                fields = {}
            address = fields.get("base_url")
            model = fields.get("model")
            found.append(
                ProviderFact(
                    row.name,
                    ready["about"],
                    ready["ready"],
                    ready["problem"] or "",
                    ready["do"] or "",
                    tuple(ready["needs"]),
                    str(model.default) if model is not None and not model.is_required() else "",
                    None if address is None else "" if address.is_required() else str(address.default or ""),
                )
            )
        return tuple(found)

    def check_rules(self, environment: str, file: Path) -> None:
        """As `ultra rules check`."""
        from ultra_agents.registry import create_environment
        from ultra_agents.rules import interface_of, load_rules

        load_rules(file, interface_of(create_environment(environment)))

    def check(self, answers: Answers, stop: Callable[[], bool], progress: Callable[[str], None]) -> Checked:
        """`ultra llm check` with fewer questions; what is wrong becomes part of the answer."""
        from ultra_agents.cli.llm.check import table_rows
        from ultra_agents.config import LLMConfig
        from ultra_agents.llm.check import check_model

        try:
            entry = LLMConfig(provider=answers.proposer, options=options_of(answers))
            found = check_model("default", entry, asks=ASKS, stop=stop, progress=progress)
        except UltraError as error:
            said = f"{error.problem}" + (f": {error.found}" if error.found else "")
            return Checked(False, (), said, error.hint or "")
        return Checked(
            found.ok,
            table_rows(found),
            found.problem or "",
            found.hint or "",
            found.tokens_per_s,
            found.latency_s,
        )

    def speed(self, answers: Answers) -> Speed:
        """Learn for a moment from a fresh network: environment steps per second, and how long episodes are."""
        from ultra_agents.config import parse_config
        from ultra_agents.registry import create_algorithm, create_environment
        from ultra_agents.rollout.simulators import make_simulators
        from ultra_agents.seeding import Streams

        try:
            config = parse_config(settings_of(replace(answers, policy_kind="train")), "the configuration")
            environment = create_environment(config.environment.name, config.environment.options)
            algorithm = create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options)
            streams = Streams(0)
            policy = algorithm.create_policy(
                environment.observation_space, environment.action_space, streams.integer("weights")
            )
            simulators = make_simulators(environment, config.refine.num_envs, 0)
            try:
                trainer = algorithm.trainer(policy, simulators, 1_000_000, streams, fresh=True)
                trainer.update()  # warms everything up, and is not counted
                begin, before = time.perf_counter(), trainer.steps
                while time.perf_counter() - begin < LOOK_S:
                    trainer.update()
                rate = (trainer.steps - before) / (time.perf_counter() - begin)
            finally:
                simulators.close()
        except UltraError as error:
            return Speed(0.0, f"the speed is unknown: {error.problem}")
        except Exception as error:  # somebody's plugin
            return Speed(0.0, f"the speed is unknown: {type(error).__name__}: {error}")
        return Speed(rate)

    def cost(self, answers: Answers, speed: Speed | None, checked: Checked | None) -> Labelled:
        """Environment steps, wall time, model calls and tokens; `at most` where the run may need less."""
        from ultra_agents.config import parse_config, settled, trains, variant_of

        config = parse_config(settings_of(answers), "the configuration")
        learning, advised = sum(map(trains, answers.methods)), any(map(variant_of, answers.methods))
        steps = answers.steps * learning + (answers.train_steps if answers.policy_kind == "train" else 0)
        rows = [("environment steps", f"{count(steps)} to learn, {_games(config)} episodes of evaluation")]
        if advised:
            tests = config.verification.max_steps + config.verification.joint_max_steps
            rows.append(("  of these tests", f"at most {count(min(tests, answers.steps))}"))
        seconds = 0.0
        if speed is not None and speed.steps_per_s > 0:
            seconds = steps / speed.steps_per_s
            rows.append(("learning", f"about {about(seconds)} at {count(speed.steps_per_s)} steps/s (measured)"))
        if answers.asks_a_model and advised:
            low, high = calls_of(config)
            each = settled(config).narration.token_budget + PROMPT_TOKENS, REPLY_TOKENS
            rows.append(("model calls", f"about {low}, at most {high}" + _cap(answers.calls)))
            tokens = f"about {count(low * sum(each))}, at most {count(high * sum(each))}"
            rows.append(("tokens", tokens + _cap(answers.tokens)))
            if checked is not None and checked.tokens_per_s:
                asked = low * REPLY_TOKENS / checked.tokens_per_s
                rows.append(
                    ("asking", f"about {about(asked)} at {checked.tokens_per_s:.1f} reply tokens/s (measured)")
                )
                seconds += asked
            else:
                rows.append(("asking", "unknown until the model is checked"))
        if seconds:
            rows.append(("wall time", f"about {about(seconds)}, evaluation not counted"))
        return tuple(rows)

    def text(self, answers: Answers) -> str:
        """The configuration file."""
        return text_of(answers)

    def write(self, answers: Answers, text: str, overwrite: bool) -> bool:
        """Write the file, completely or not at all; false where one is there and must not be lost."""
        from ultra_agents.files import write_whole

        if answers.file.exists() and not overwrite:
            return False
        try:
            write_whole(answers.file, text)
        except OSError as error:
            raise ConfigError(f"cannot write {answers.file}", found=error.strerror or str(error)) from error
        return True


def calls_of(config: Config) -> tuple[int, int]:
    """Model calls of a run: the usual number (every other suggestion comes back once), and the most there can be."""
    from ultra_agents.config import settled

    segments = config.collect.episodes * config.narration.segments_per_episode
    states = segments * settled(config).agents.max_critical
    reflects = config.verification.mode in ("reflect", "both")
    each = 3 if reflects else 2
    usual = segments + int(states * each * (1.0 if config.agents.max_revisions == 0 else 1.25) * 0.8)
    return usual, segments + states * each * (1 + config.agents.max_revisions)


def _games(config: Config) -> int:
    points = config.refine.steps // config.refine.evaluate_every + 1
    finals = 2 * len(config.methods) + 1
    return (
        config.collect.episodes
        + len(config.methods) * points * config.refine.curve_episodes
        + (finals * config.evaluate.episodes)
    )


def _cap(number: int | None) -> str:
    return "" if number is None else f"; stops at {count(number)}"
