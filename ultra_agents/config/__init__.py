"""Configuration of one run: strict models (`run`, `models`, `methods`, `engine`) and how a file is read (`load`)."""

from ultra_agents.config.advising import AdviceConfig, AdviceForm, ImitationConfig, ModulationConfig
from ultra_agents.config.capacity import Settled, models_of, prompts_of, settled
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
    CriticConfig,
    GatewayConfig,
    IdentifierConfig,
    LLMConfig,
    PluginConfig,
    Section,
)
from ultra_agents.config.rules import RuleTestConfig
from ultra_agents.config.run import (
    OF_RULES,
    AgentsConfig,
    AgentsSection,
    CollectConfig,
    Config,
    EvaluateConfig,
    NarrationConfig,
    NarrationSection,
    PolicyConfig,
    Proposer,
    RefineConfig,
)
from ultra_agents.config.search import SearchConfig
from ultra_agents.config.tools import ToolsConfig
from ultra_agents.config.unread import unread, uses_advice
from ultra_agents.config.verification import VerificationConfig

__all__ = [
    "OF_RULES", "AdviceConfig", "AdviceForm", "AgentConfig", "AgentsConfig", "AgentsSection", "BudgetConfig",
    "CapsConfig", "ClusterConfig", "CollectConfig", "Config", "CriticConfig", "EvaluateConfig", "GatewayConfig",
    "IdentifierConfig", "ImitationConfig", "LLMConfig", "ModulationConfig", "NarrationConfig", "NarrationSection",
    "PluginConfig", "PolicyConfig", "Proposer", "RefineConfig", "RuleTestConfig", "RunEngineConfig", "SearchConfig",
    "Section", "Settled", "ToolsConfig", "VerificationConfig", "baseline_of", "colours_of", "default_baseline",
    "follows_actions", "load_config", "method_class", "method_names", "models_of", "parse_config", "prompts_of",
    "settled", "trains", "unread", "usable_methods", "uses_advice", "variant_of",
]  # fmt: skip
