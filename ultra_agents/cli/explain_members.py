"""The configurations that `ultra explain --compare` compares, from their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from ultra_agents.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ultra_agents.config import Config


def members(config: Config, names: str) -> dict[str, Config]:
    """One configuration per name in the comma-separated `names`, all else equal.

    A name is a control (`random`, `value`, `search`, `oracle`; of rules `random`, `file`, `constants`), an entry of
    `llms`, or a provider; in this order. Advice has the form that the configuration asks for.

    Raises:
        ConfigError: No name, a name twice, or an unknown one.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise ConfigError("--compare names nobody", expected="for example --compare local,random,oracle")
    twice = sorted({name for name in wanted if wanted.count(name) > 1})
    if twice:
        raise ConfigError(f"--compare names {twice[0]!r} twice", found=names)
    found = {name: member(config, name) for name in wanted}
    folders = [one.name for one in found.values()]
    if len(set(folders)) < len(folders):
        raise ConfigError("two names of --compare give the same folder", found=", ".join(folders))
    return found


def member(config: Config, name: str) -> Config:
    """`config` with `name` as its proposer."""
    from ultra_agents.config import OF_RULES, AdviceForm, AgentConfig, IdentifierConfig, LLMConfig, Proposer
    from ultra_agents.registry import catalogue

    folder = re.sub(r"[^A-Za-z0-9._-]", "-", name)
    controls = [control for control in get_args(Proposer) if control != "llm"]
    if name in OF_RULES and config.advice.file is None:
        raise ConfigError(
            f"--compare {name}: a set of rules is read, and the configuration names none",
            found="advice.file: null", expected="proposer: file and advice.file: PATH in the configuration",
        )  # fmt: skip
    moves_only = name in controls and name not in OF_RULES and name != "random"
    if moves_only and config.of_rules:
        raise ConfigError(
            f"--compare {name}: it proposes moves only", found=f"advice.form: {config.form}",
            expected=f"random, {', '.join(OF_RULES)} or a model",
        )  # fmt: skip
    form: AdviceForm | None = None if name in OF_RULES else "moves" if moves_only else config.form
    file = config.advice.file if name in OF_RULES else None
    advice = config.advice.model_copy(update={"form": form, "file": file})
    if name in controls:
        return config.model_copy(update={"name": folder, "proposer": name, "advice": advice})
    entries = [name] if name in config.llms else [key for key, llm in config.llms.items() if llm.provider == name]
    providers = [row.name for row in catalogue() if row.kind == "llm"]
    if len(entries) > 1:
        raise ConfigError(
            f"--compare {name}: several models of this configuration are of that provider",
            expected=f"one of: {', '.join(entries)}",
        )
    if not entries and not name.startswith("langchain:") and name.rpartition(":")[2] not in providers:
        known = [*controls, *config.llms, *providers]
        raise ConfigError(
            f"--compare: nobody is called {name!r}",
            expected=f"controls: {', '.join(controls)}; models of this configuration: {', '.join(config.llms)}; "
            f"providers: {', '.join(providers)}",
            hint=did_you_mean(name, known),
        )
    key = entries[0] if entries else name
    llm = config.llms[key] if entries else LLMConfig(provider=name)
    critic = config.agents.critic.model_copy(update={"llm": key, "fallback": ()})
    roles = {"identifier": IdentifierConfig(llm=key), "advisor": AgentConfig(llm=key), "critic": critic}
    agents = config.agents.model_copy(update=roles)
    changes = {"name": folder, "proposer": "llm", "llms": {key: llm}, "agents": agents, "advice": advice}
    return config.model_copy(update=changes)


def check_explainable(config: Config) -> None:
    """Refuse, before anything is spent, a configuration whose run cannot be explained.

    Raises:
        UltraError: Unknown plugin, unusable options, no policy there, an oracle without an expert.
    """
    from ultra_agents.cli.run_display import preflight

    preflight(config.model_copy(update={"methods": ("ultra-ra",)}))
