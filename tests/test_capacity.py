"""What goes by the model: prompts full or short, and what comes of that where the configuration says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultra_agents.config import Config, load_config, parse_config, settled
from ultra_agents.errors import UltraError
from ultra_agents.registry import create_llm

ROOT = Path(__file__).parents[1]
OPENAI = {"provider": "openai", "options": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}
LOCAL = {"provider": "local"}


def config(llms=None, **settings) -> Config:
    base = {"environment": {"name": "corridor"}, "policy": {"train_steps": 1}, "llms": llms or {"default": OPENAI}}
    return parse_config({**base, **settings}, "the test")


def ollama(model: str, **options):
    return {"provider": "ollama", "options": {"model": model, **options}}


def test_a_capable_model_sees_every_step_and_may_plan_far():
    found = settled(config())
    assert found.prompts == found.agents.prompts == "full"
    assert (found.narration.token_budget, found.narration.stride) == (6000, 1)
    agents = found.agents
    assert (agents.reasoning, agents.max_critical, agents.max_moves, agents.max_hold, agents.plan_steps) == (
        1500, 4, 8, 40, 40,
    )  # fmt: skip


def test_the_embedded_model_is_asked_as_before():
    found = settled(config({"default": LOCAL}))
    assert (found.narration.token_budget, found.narration.stride) == (900, 3)
    agents = found.agents
    assert (agents.reasoning, agents.max_critical, agents.max_moves, agents.max_hold, agents.plan_steps) == (
        240, 3, 1, 8, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "prompts"),
    [
        (OPENAI, "full"),
        (LOCAL, "short"),
        ({**LOCAL, "prompts": "full"}, "full"),
        ({**OPENAI, "prompts": "short"}, "short"),
        (ollama("qwen3:8b"), "full"),
        (ollama("qwen3:1.7b"), "short"),
        (ollama("smollm:135m"), "short"),
        (ollama("llama3.2:3b-instruct-q4_K_M"), "short"),
        (ollama("hf.co/someone/Model-7B-GGUF"), "full"),
        (ollama("gpt-oss"), "full"),
        (ollama("qwen3:8b", context=4096), "short"),
        ({**ollama("qwen3:8b", context=4096), "prompts": "full"}, "full"),
        ({"provider": "scripted", "options": {"replies": ["{}"]}}, "short"),
    ],
)
def test_who_is_asked_how(entry, prompts):
    assert settled(config({"default": entry})).prompts == prompts


def test_the_smallest_of_the_models_that_are_asked_decides():
    llms = {"large": OPENAI, "small": LOCAL}
    assert settled(config(llms)).prompts == "full", "nobody asks the small one"
    chain = {"advisor": {"llm": ["large", "small"]}}
    assert settled(config(llms, agents=chain)).prompts == "short"
    critic = {"critic": {"llm": "small"}}
    assert settled(config(llms, agents=critic)).prompts == "short"
    panel = {"identifier": {"panel": ["large", "small"]}}
    assert settled(config(llms, agents=panel)).prompts == "short"


def test_a_narration_fits_into_the_context():
    found = settled(config({"default": ollama("qwen3:8b", context=8192)}))
    assert found.prompts == "full"
    assert found.narration.token_budget == 8192 - 2048 - 800 - 2000
    assert settled(config({"default": ollama("qwen3:8b", context=32768)})).narration.token_budget == 6000


def test_what_is_said_wins():
    said = {"max_critical": 1, "max_hold": 5, "max_moves": 2, "plan_steps": 7, "reasoning": 99}
    found = settled(config(narration={"token_budget": 333, "stride": 4}, agents=said))
    assert (found.narration.token_budget, found.narration.stride) == (333, 4)
    assert {name: getattr(found.agents, name) for name in said} == said


def test_limits_agree_with_each_other_and_with_the_test():
    assert settled(config(agents={"max_hold": 60})).agents.plan_steps == 60
    assert settled(config(agents={"plan_steps": 12})).agents.max_hold == 12
    assert settled(config({"default": LOCAL}, agents={"min_hold": 9})).agents.max_hold == 9
    short = settled(config(verification={"max_test_steps": 50})).agents
    assert (short.plan_steps, short.max_hold) == (25, 25), "a plan that cannot be tested is not asked for"
    with pytest.raises(UltraError, match="agents"):
        config(agents={"min_hold": 9, "plan_steps": 8})


def test_a_configuration_is_kept_as_it_was_written():
    made = config()
    assert made.narration.token_budget is None
    assert parse_config(made.model_dump(mode="json"), "again") == made


def test_replies_have_room_for_reasons():
    assert create_llm("openai", OPENAI["options"]).options.max_tokens == 4096
    assert create_llm("local").options.max_tokens == 512


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/recorded/*/run.yaml")), ids=lambda path: path.parent.name)
def test_recorded_runs_are_valid_and_full(path):
    found = settled(load_config(path, []))
    assert (found.prompts, found.narration.token_budget, found.narration.stride) == ("full", 6000, 1)
    assert (found.agents.max_moves, found.agents.max_hold, found.agents.plan_steps) == (8, 40, 40)
