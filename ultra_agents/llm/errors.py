"""Calls that failed for good, as errors for people."""

from __future__ import annotations

from ultra_agents.contracts.llm import NotRecorded, Unreachable
from ultra_agents.errors import LLMError
from ultra_agents.llm.failures import Failure
from ultra_agents.llm.model import Model
from ultra_agents.llm.retry import MAX_RETRY_AFTER_S
from ultra_agents.text import counted


def one_line(failure: Failure) -> str:
    """The failure in a line."""
    return failure.text if failure.status is None else f"HTTP {failure.status}: {failure.text}"


def refused(model: Model, failure: Failure) -> LLMError:
    """Every call will fail: retries and fallbacks would hide a mistake in the configuration."""
    return LLMError(
        f"the model {model.name!r} ({_who(model)}) refuses to answer",
        found=one_line(failure),
        expected="an answer",
        hint=_hint(failure, model.name),
    )


def no_answer(model: Model, failure: Failure, retries: int) -> Unreachable:
    """Every attempt failed in a transient way, or one of them was told to wait for too long."""
    wait = failure.retry_after or 0.0
    attempts = (
        f"after {counted(retries + 1, 'attempt')}"
        if wait <= MAX_RETRY_AFTER_S
        else f"and asks to wait for {wait:.0f} s"
    )
    return Unreachable(
        f"the model {model.name!r} ({_who(model)}) does not answer, {attempts}",
        found=one_line(failure),
        expected="an answer",
        hint=f"check llms.{model.name} (base_url, timeout_s), raise gateway.retries, or name a fallback",
    )


def not_recorded(model: Model, key: str, cache: object, who: str) -> NotRecorded:
    """Replay met a question that was not recorded."""
    return NotRecorded(
        "replay: this question is not in the answer cache",
        found=f"no key {key} ({who}, model {model.name!r})",
        expected=f"an answer recorded in {cache}",
        hint="run once with gateway.mode=live; prompts, model, sampling or schema have changed; "
        "gateway.missing: drop counts such questions and goes on",
    )


def price_unknown(model: Model) -> LLMError:
    """A cap on money cannot be kept without prices."""
    return LLMError(
        f"the cap on money cannot be kept: no price of the model {model.name!r} ({_who(model)}) is known",
        expected="money per million tokens",
        hint=f"set llms.{model.name}.price_prompt and .price_completion, or cap gateway.budget.tokens instead",
    )


def _who(model: Model) -> str:
    return f"{model.config.provider} {model.llm.model_name!r}"


def _hint(failure: Failure, name: str) -> str:
    if failure.status in (401, 403):
        return f"check the key in the environment (llms.{name}.options.api_key_env names the variable)"
    if failure.status == 404:
        return f"check llms.{name}.options.model and base_url"
    if failure.status in (402, 429):
        return "the account is out of credit; answers so far are kept"
    return f"check llms.{name}.options"
