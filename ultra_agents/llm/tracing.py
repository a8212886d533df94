"""Tracing through langchain's own means: callbacks by name, and LangSmith only where the configuration asks for it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ultra_agents.errors import ConfigError

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
