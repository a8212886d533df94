"""Rules from language models: one state machine for each collected episode, many side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ultra_agents.agents import prompts
from ultra_agents.agents.checkpoint import CheckpointPlace
from ultra_agents.agents.rules.opening import opening, stretches_of, thresholds_of, values_of
from ultra_agents.agents.rules.state import PROPOSAL, Context, Form, TriesRules
from ultra_agents.agents.running import Stop, Task, digest, run_side_by_side
from ultra_agents.agents.state import AsksModels
from ultra_agents.config import AgentsConfig, AgentsSection, Config, models_of, prompts_of, settled
from ultra_agents.contracts import Environment, Policy
from ultra_agents.events import Emit, StageProgress, StepsSpent, Warned
from ultra_agents.records import Narration, RuleProposal, RuleTrial, Trajectory
from ultra_agents.registry import create_llm
from ultra_agents.rules import interface_of

if TYPE_CHECKING:
    from ultra_agents.agents.tools.toolbox import Toolbox

ROOM = 2000
"""Tokens of a reply below which a set of rules written as text is likely to be cut."""


def propose_rules(
    *,
    environment: Environment,
    policy: Policy,
    config: Config,
    trajectories: Sequence[Trajectory],
    narrations: Sequence[Narration],
    gateway: AsksModels,
    tester: TriesRules | None,
    checkpoint: CheckpointPlace | None,
    emit: Emit,
    stop: Stop,
    source: str,
    effects: str = "",
    tools: Toolbox | None = None,
) -> tuple[RuleProposal, ...]:
    """A set of rules from each episode with something to tell, in order; its text is empty where nothing usable came.

    Args:
        environment: Brief, quantities, actions.
        policy: What rules are in force over.
        config: Agents, models, narration, verification.
        trajectories: The collected episodes.
        narrations: Their stretches worth telling; of these only which steps they tell is used.
        gateway: The models; asked from several threads.
        tester: The short test, `verification.trials.RuleTrials`; None leaves the decision to the critic in every mode.
        checkpoint: Where the progress of each episode is kept, which moves may share; None remembers nothing.
        emit: Where events go; called from several threads.
        stop: Polled; true ends everything, resumably.
        source: Who proposes, as the proposals say it.
        effects: What actions do, measured, in words; may be empty.
        tools: What models that call tools may call.

    Returns:
        One proposal per episode that has a narration. What the policy alone played in short tests, once for all of
        them, is in the `env_steps` of the first that was tested.

    Raises:
        RuleError: Rules have nothing to speak of in this environment.
        Interrupted: `stop()` became true before all episodes were finished.
        UltraError: Whatever else ended an episode: a spending cap, an unreachable model, a faulty plugin.
    """
    interface, form, ready = interface_of(environment), form_of(config), settled(config)
    told = {narration.segment.episode for narration in narrations}
    episodes = [one for one in trajectories if one.episode in told]
    if not episodes:
        return ()
    if form == "text":
        _warn_of_short_replies(config, emit)
    values = [values_of(environment, one) for one in trajectories]
    thresholds = thresholds_of(values)
    unused = {"concurrency", "checkpoints", "search"} | ({"tools"} if tools is None else set())
    settings = {
        "agents": ready.agents.model_dump(mode="json", exclude=unused),
        "mode": config.verification.mode,
        "rules": config.verification.rules.model_dump(mode="json"),
        "models": models_of(config),
        "prompts": prompts.fingerprint(prompts.RULES_PROMPTS),
        "tested": tester is not None,
        "source": source,
        "thresholds": thresholds,
    }
    if tools is not None:
        settings |= {"tools": tools.settings}

    played = threading.Lock()
    told_alone = False

    def spent(trial: RuleTrial, work: str) -> None:
        nonlocal told_alone
        with played:
            alone, told_alone = (0 if told_alone else trial.alone_steps), True
        if alone:
            emit(StepsSpent("test", alone, "the policy alone"))
        emit(StepsSpent("test", trial.env_steps, work))

    def task(trajectory: Trajectory) -> Task:
        stretches, shown = stretches_of(
            trajectory, trajectories, narrations, environment, interface, ready.narration, form
        )
        text = opening(environment, interface, form, values, effects, stretches, policy.stochastic)

        def context(stop: Callable[[], bool]) -> Context:
            return Context(
                trajectory=trajectory,
                trajectories=trajectories,
                thresholds=thresholds,
                environment=environment,
                interface=interface,
                policy=policy,
                opening=text,
                shown=shown,
                gateway=gateway,
                form=form,
                agents=ready.agents,
                narration=ready.narration,
                mode=config.verification.mode,
                tester=tester,
                spent=spent,
                emit=emit,
                source=source,
                stop=stop,
                tools=tools,
                tuned=tester is not None and config.verification.rules.tune,
            )

        fingerprint = digest({**settings, "opening": text, "episode": trajectory.episode})
        return Task(f"{trajectory.episode}:rules", fingerprint, context, "proposal")

    from ultra_agents.agents.rules.graph import build_graph

    states = run_side_by_side(
        [task(one) for one in episodes],
        build_graph,
        checkpoint=checkpoint,
        concurrency=ready.agents.concurrency,
        most_nodes=node_limit(ready.agents),
        stop=stop,
        finished=lambda name, count: emit(StageProgress("explain", count, len(episodes), name)),
    )
    proposals = [PROPOSAL.validate_python(state["proposal"]) for state in states]
    first = next((index for index, state in enumerate(states) if state["alone_steps"]), None)
    if first is not None:
        alone = int(states[first]["alone_steps"])
        proposals[first] = replace(proposals[first], env_steps=proposals[first].env_steps + alone)
    return tuple(proposals)


def form_of(config: Config) -> Form:
    """How the advisor's first model writes rules: as asked, or as atoms where its prompts are short."""
    if config.agents.rules is not None:
        return config.agents.rules
    name = config.agents.advisor.llm or next(iter(config.llms))
    return "atoms" if prompts_of(config, name) == "short" else "text"


def most_trials(episodes: int, agents: AgentsConfig | AgentsSection) -> int:
    """Short tests there can be, of so many episodes."""
    return episodes * (1 + agents.max_revisions)


def node_limit(agents: AgentsConfig) -> int:
    """Nodes that no episode passes: langgraph's guard against graphs that never end.

    Per set advise, criticise and reflect, each with its repairs, and test; and narrate, identify, finish.
    """
    return 10 + (4 + 3 * agents.max_repairs) * (1 + agents.max_revisions)


def _warn_of_short_replies(config: Config, emit: Emit) -> None:
    """Say so where a model's replies end before a set of rules does."""
    names = config.agents.advisor.names or (next(iter(config.llms)),)
    for name in names:
        most = create_llm(config.llms[name].provider, config.llms[name].options).options.max_tokens
        if most is not None and most < ROOM and config.llms[name].provider not in ("scripted", "replay"):
            emit(
                Warned(
                    f"replies of the model {name!r} end after {most} tokens, and sets of rules are longer: set "
                    f"llms.{name}.options.max_tokens to {2 * ROOM} or more"
                )
            )
