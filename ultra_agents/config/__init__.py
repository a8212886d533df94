"""Configuration of one run: strict models (`run`, `models`, `methods`, `engine`) and how a file is read (`load`)."""

from ultra_agents.config.engine import ClusterConfig, RunEngineConfig
from ultra_agents.config.load import load_config, parse_config
from ultra_agents.config.methods import (
    baseline_of,
    colours_of,
    default_baseline,
    follows_actions,
    method_class,
    method_names,
    trains,
    usable_methods,
    variant_of,
)
from ultra_agents.config.models import (
    AgentConfig,
    BudgetConfig,
    CapsConfig,
    GatewayConfig,
    IdentifierConfig,
    LLMConfig,
    PluginConfig,
    Section,
)
from ultra_agents.config.rules import RuleTestConfig
from ultra_agents.config.run import (
    OF_RULES,
    AdviceConfig,
    AdviceForm,
    AgentsConfig,
    CollectConfig,
    Config,
    EvaluateConfig,
    ImitationConfig,
    ModulationConfig,
    NarrationConfig,
    PolicyConfig,
    Proposer,
    RefineConfig,
    VerificationConfig,
)
from ultra_agents.config.search import SearchConfig

__all__ = [
    "OF_RULES", "AdviceConfig", "AdviceForm", "AgentConfig", "AgentsConfig", "BudgetConfig", "CapsConfig",
    "ClusterConfig", "CollectConfig", "Config", "EvaluateConfig", "GatewayConfig", "IdentifierConfig",
    "ImitationConfig", "LLMConfig", "ModulationConfig", "NarrationConfig", "PluginConfig", "PolicyConfig",
    "Proposer", "RefineConfig", "RuleTestConfig", "RunEngineConfig", "SearchConfig", "Section", "VerificationConfig",
    "baseline_of", "colours_of", "default_baseline", "follows_actions", "load_config", "method_class", "method_names",
    "parse_config", "trains", "usable_methods", "variant_of",
]  # fmt: skip
