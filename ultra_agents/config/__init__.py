"""Configuration of one run: strict models (`run`, `models`, `methods`, `engine`) and how a file is read (`load`)."""

from ultra_agents.config.engine import ClusterConfig, RunEngineConfig
from ultra_agents.config.load import load_config, parse_config
from ultra_agents.config.methods import JsrlConfig, MaskConfig, RiceConfig, StateMaskConfig
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
    AdviceConfig,
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
    follows_actions,
    variant_of,
)

__all__ = [
    "AdviceConfig", "AgentConfig", "AgentsConfig", "BudgetConfig", "CapsConfig", "ClusterConfig", "CollectConfig",
    "Config", "EvaluateConfig", "GatewayConfig", "IdentifierConfig", "ImitationConfig", "JsrlConfig", "LLMConfig",
    "MaskConfig", "ModulationConfig", "NarrationConfig", "PluginConfig", "PolicyConfig", "Proposer", "RefineConfig",
    "RiceConfig", "RuleTestConfig", "RunEngineConfig", "Section", "StateMaskConfig", "VerificationConfig",
    "follows_actions", "load_config", "parse_config", "variant_of",
]  # fmt: skip
