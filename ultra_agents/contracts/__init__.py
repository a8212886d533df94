"""The contracts between the engine and its plugins; plugins import these and nothing deeper."""

from ultra_agents.contracts.algorithm import Algorithm, Demonstrations, Policy, Trainer, agreed
from ultra_agents.contracts.environment import (
    CONTRACT_VERSION,
    ActionCodec,
    Brief,
    DiscreteActions,
    Environment,
    Options,
    ReferenceReturns,
    capabilities,
)
from ultra_agents.contracts.formats import Foreign, Outgoing, PolicyFormat, Request, Weights
from ultra_agents.contracts.llm import LLM, LLMOptions
from ultra_agents.contracts.method import Advised, Method, Prepared, Ruled, Services, Setting, Simulators, Terms
from ultra_agents.contracts.modulation import Learn, Modulated, Modulation, learning_rewards
from ultra_agents.contracts.quantities import Quantity
from ultra_agents.contracts.widening import Widening

__all__ = [
    "CONTRACT_VERSION",
    "LLM",
    "ActionCodec",
    "Advised",
    "Algorithm",
    "Brief",
    "Demonstrations",
    "DiscreteActions",
    "Environment",
    "Foreign",
    "LLMOptions",
    "Learn",
    "Method",
    "Modulated",
    "Modulation",
    "learning_rewards",
    "Options",
    "Outgoing",
    "Policy",
    "PolicyFormat",
    "Prepared",
    "Quantity",
    "ReferenceReturns",
    "Request",
    "Ruled",
    "Services",
    "Setting",
    "Simulators",
    "Terms",
    "Trainer",
    "Weights",
    "Widening",
    "agreed",
    "capabilities",
]
