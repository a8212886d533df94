"""Who is compared by `ultra explain --compare`: names to configurations, and episodes shared among their folders."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, get_args

from ultra_agents.errors import ConfigError, RunError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from ultra_agents.config import Config
    from ultra_agents.runs import RunFolder


def members(config: Config, names: str) -> dict[str, Config]:
    """One configuration per name in the comma-separated `names`, all else equal.

    A name is a control (`random`, `value`, `oracle`), an entry of `llms`, or a provider; in this order.

    Raises:
        ConfigError: No name, a name twice, or one nobody goes by.
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
    """`config` with `name` as the proposer."""
    from ultra_agents.config import AgentConfig, IdentifierConfig, LLMConfig, Proposer
    from ultra_agents.registry import catalogue

    folder = re.sub(r"[^A-Za-z0-9._-]", "-", name)
    controls = [control for control in get_args(Proposer) if control != "llm"]
    if name in controls:
        return config.model_copy(update={"name": folder, "proposer": name})
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
    alone = AgentConfig(llm=key)
    roles = {"identifier": IdentifierConfig(llm=key), "advisor": alone, "critic": alone}
    agents = config.agents.model_copy(update=roles)
    return config.model_copy(update={"name": folder, "proposer": "llm", "llms": {key: llm}, "agents": agents})


def check(config: Config) -> None:
    """Find out before anything is spent whether `config` can be explained.

    Raises:
        UltraError: Unknown plugin, unusable options, no policy there, an oracle without an expert.
    """
    from ultra_agents.cli.running import preflight
    from ultra_agents.contracts import capabilities
    from ultra_agents.registry import create_environment

    preflight(config.model_copy(update={"methods": ("ultra-ra",)}))
    environment = create_environment(config.environment.name, config.environment.options)
    if config.proposer == "oracle" and "expert" not in capabilities(environment):
        raise ConfigError(
            f"the environment {config.environment.name!r} has no expert, so there is no oracle",
            expected="llm, random or value",
        )


def take_up(root: Path, config: Config, again: str) -> RunFolder:
    """The run folder of `config` below `root`: made, or taken up again if it is of the same configuration.

    Args:
        root: Where run folders are.
        config: What shall be explained.
        again: How to name another folder, for the error message.

    Raises:
        RunError: There is a run of that name with another configuration.
    """
    from ultra_agents.runs import RunFolder, with_absolute_paths

    path = root / config.name
    if not path.exists():
        return RunFolder.create(root, config)
    folder = RunFolder.open(path)
    if folder.config.hash() != with_absolute_paths(config).hash():
        raise RunError(
            f"the run {path} exists already, with another configuration",
            expected="the same configuration, to go on with it",
            hint=f"see what it found: ultra explain {path}, or start another: {again}",
        )
    return folder


def share_episodes(source: RunFolder, target: RunFolder) -> None:
    """Give `target` the starting policy and the episodes of `source`, which come out the same for the same seed.

    Raises:
        RunError: They cannot be copied.
    """
    collected = source.stage_done("collect")
    if collected is None or target.stage_done("collect") is not None:
        return
    try:
        shutil.copytree(source.trajectories, target.trajectories, dirs_exist_ok=True)
        start = source.checkpoint("start")
        if start.exists():
            shutil.copy2(start, target.checkpoint("start"))
    except OSError as error:
        raise RunError(f"cannot copy the episodes of {source.path}", found=str(error)) from error
    target.mark_done("collect", collected)
