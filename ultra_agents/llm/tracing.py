"""Tracing through langchain's own means: callbacks by name, and LangSmith only where the configuration asks for it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ultra_agents.errors import ConfigError

Redact = Callable[[str], str]

SWITCHES = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2")
"""What turns LangSmith on in langchain; with LANGSMITH_OTEL_ENABLED it speaks OpenTelemetry instead."""


def asked_for() -> str | None:
    """The variable of the environment that asks langchain to trace, if one does."""
    return next((name for name in SWITCHES if os.environ.get(name, "").lower() in ("1", "true")), None)


@contextmanager
def untraced() -> Iterator[None]:
    """Inside, nothing of this process is sent to a tracing service, whatever the environment says."""
    import langsmith

    langsmith.configure(enabled=False)
    try:
        yield
    finally:
        langsmith.configure(enabled=None)


@contextmanager
def redacted_traces(redactors: Sequence[Callable[[], Redact]]) -> Iterator[None]:
    """Inside, what langchain sends to LangSmith is redacted; what models are sent is not.

    Args:
        redactors: One of each model, asked anew each time: keys become known when a model is opened.
    """
    import langsmith

    def redact(value: Any) -> Any:
        for redactor in redactors:
            value = redacted_copy(value, redactor())
        return value

    langsmith.configure(client=langsmith.Client(anonymizer=redact))
    try:
        yield
    finally:
        langsmith.configure(client=None)


def redacted_copy(value: Any, redact: Redact) -> Any:
    """A copy of what langchain tells callbacks (texts, messages, results, errors) with every text in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list | tuple):
        return type(value)(redacted_copy(item, redact) for item in value)
    if isinstance(value, dict):
        return {name: redacted_copy(item, redact) for name, item in value.items()}
    if isinstance(value, BaseException):
        said = f"{type(value).__name__}: {value}"
        return value if redact(f"{said} {value!r}") == f"{said} {value!r}" else RuntimeError(redact(said))
    if hasattr(value, "model_copy"):
        copy = value.model_copy()
        copy.__dict__.update({name: redacted_copy(item, redact) for name, item in copy.__dict__.items()})
        return copy
    return value


def redacting_handler(handler: Any, redact: Redact) -> Any:
    """The langchain callback handler `handler`, told everything in redacted copies."""
    from langchain_core.callbacks import BaseCallbackHandler

    class Redacting(BaseCallbackHandler):
        """Hands every event on."""

        def __getattribute__(self, name: str) -> Any:
            inner = getattr(handler, name)
            if not name.startswith("on_"):
                return inner
            return lambda *given, **named: inner(*redacted_copy(given, redact), **redacted_copy(named, redact))

    return Redacting()


def load_callbacks(targets: Sequence[str]) -> list[Any]:
    """The handlers that `module:factory` make; each a langchain `BaseCallbackHandler`.

    Raises:
        ConfigError: Not importable, or no handler comes out.
    """
    handlers = []
    for target in targets:
        module, _, name = target.partition(":")
        try:
            made = getattr(importlib.import_module(module), name)()
        except Exception as error:
            raise ConfigError(
                f"gateway.callbacks: {target!r} cannot be made",
                found=f"{type(error).__name__}: {error}",
                expected='"module:factory" that makes a langchain callback handler',
            ) from error
        from langchain_core.callbacks import BaseCallbackHandler

        if not isinstance(made, BaseCallbackHandler):
            raise ConfigError(
                f"gateway.callbacks: {target!r} makes no callback handler",
                found=type(made).__name__,
                expected="a langchain_core.callbacks.BaseCallbackHandler",
            )
        handlers.append(made)
    return handlers
