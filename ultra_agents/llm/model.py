"""One configured model: opened on first use, told the reply's schema the way it understands, asked once."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ultra_agents.config import LLMConfig
from ultra_agents.contracts.llm import LLM, Structured, bound
from ultra_agents.errors import Interrupted
from ultra_agents.llm.budget import Prices, estimate_tokens
from ultra_agents.llm.cache import RawReply
from ultra_agents.llm.circuit_breaker import Breaker
from ultra_agents.llm.limits import Limits
from ultra_agents.llm.prices import table_prices
from ultra_agents.llm.retry import CallFailed, Failure, check_stop, classify, is_ours, stream_at_fault
from ultra_agents.llm.streaming import Tell, follow
from ultra_agents.registry import create_llm

Messages = Sequence[tuple[str, str]]

_NEXT: dict[Structured, Structured] = {
    "json_schema": "json_object",
    "json_object": "text",
    "format": "text",
    "tools": "text",
}
_BLOT = "[secret]"
_TAIL = 600
"""Characters of a growing reply that are told, from its end."""


class Model:
    """An entry of `llms`.

    Args:
        name: Its name there.
        config: The entry.
        callbacks: langchain callback handlers of every call.

    Attributes:
        breaker: The provider's; the gateway lets entries of one server share it.
        way: How the schema is sent, simpler once the server has refused it.
        streams: Replies can be shown growing; false once a stream of this server was not what it should be.
    """

    def __init__(self, name: str, config: LLMConfig, callbacks: Sequence[Any] = ()) -> None:
        self.name = name
        self.config = config
        self.llm: LLM = create_llm(config.provider, config.options)
        self.limits = Limits(config.concurrency, config.requests_per_minute, config.tokens_per_minute)
        self.breaker = Breaker(failures=5, rest_s=60.0)
        self.way: Structured = self.llm.options.structured or self.llm.structured
        self.streams = self.llm.streams
        self._callbacks = list(callbacks)
        self._chat: Any = None
        self._checked = False
        self._lock = threading.Lock()
        self._checking = threading.Lock()

    @property
    def label(self) -> str:
        """`provider:model`, for tables and reports."""
        said = self.llm.model_name
        return self.config.provider if said in ("", self.config.provider) else f"{self.config.provider}:{said}"

    @property
    def prices(self) -> Prices:
        """Money per million prompt and completion tokens: the configuration's, the provider's, the table's."""
        config = self.config
        if config.price_prompt is not None and config.price_completion is not None:
            return config.price_prompt, config.price_completion
        return self.llm.prices or table_prices(self.llm.base_url, self.llm.model_name)

    def check(self) -> None:
        """Find out once, spending nothing, whether the model can be asked.

        Raises:
            LLMError: It cannot; `Unreachable` if that may pass, and then the next `check` looks again.
        """
        with self._checking:
            if not self._checked:
                self.llm.check()
                self._checked = True

    def request(self, messages: Messages, schema: dict[str, Any], attempt: int) -> dict[str, Any]:
        """Everything a reply depends on; its hash is the cache key."""
        return {
            "provider": self.config.provider,
            "base_url": self.llm.base_url,
            "model": self.llm.model_name,
            "sampling": self.llm.sampling,
            "messages": [list(message) for message in messages],
            "schema": schema,
            "attempt": attempt,
        }

    def most_tokens(self, messages: Messages) -> tuple[int, int]:
        """Upper estimates of the prompt's and the reply's tokens."""
        prompt = sum(estimate_tokens(text) + 8 for _, text in messages)
        return prompt, int(self.llm.options.max_tokens)

    def call(
        self,
        messages: Messages,
        schema: dict[str, Any],
        title: str,
        stop: Callable[[], bool] | None,
        tell: Tell | None = None,
    ) -> RawReply:
        """Ask once. A server that refuses the schema's form is asked in a simpler one from then on.

        One whose stream fails is asked for whole replies from then on, at once if it would not be asked again; what
        a stream that broke off has cost is not known, and not counted.

        Args:
            messages: `(role, text)`.
            schema: Of the reply.
            title: Of the schema.
            stop: Polled; true ends the asking.
            tell: Given the end of the reply while it is written, where the provider streams.

        Raises:
            CallFailed: Sorted by what can be done about it.
            UltraError: The provider cannot be opened, or the run was stopped.
        """
        while True:
            way = self.way
            told = tell if self.streams and way != "tools" else None
            try:
                return self.call_once(messages, schema, title, way, stop, told)
            except CallFailed as error:
                if told is not None and stream_at_fault(error.failure):
                    self.streams = False
                    if error.failure.kind != "passing" or error.failure.status is None:
                        told("")  # what there was of it is no part of the next one
                        continue
                simpler = _NEXT.get(way)
                if error.failure.kind != "schema refused" or simpler is None:
                    raise
                with self._lock:
                    if self.way == way:
                        self.way = simpler

    def call_once(
        self,
        messages: Messages,
        schema: dict[str, Any],
        title: str,
        way: Structured,
        stop: Callable[[], bool] | None,
        tell: Tell | None = None,
    ) -> RawReply:
        """Ask once, the schema sent in one `way`; raises as `call` does."""
        chat = self.open()
        if way in ("text", "json_object"):
            messages = [*messages[:-1], _with_schema(messages[-1], schema)]
        # what a model, a callback or a tracer sees holds no key either
        said = [[role, self.blot(text)] for role, text in messages]
        traced: Any = {"callbacks": self._callbacks} if self._callbacks else None
        left = threading.Event()
        begun = time.perf_counter()
        try:
            runnable = bound(chat, schema, way, title)
            context = contextvars.copy_context()  # the thread below still belongs to what is being traced

            def ask() -> Any:
                if tell is None:
                    return runnable.invoke(said, traced)
                pieces = runnable.stream(said, traced)
                return follow(pieces, lambda text: tell(self._end_of(text)), self.llm.options.timeout_s, left.is_set)

            answer = _interruptible(lambda: context.run(ask), stop)
        except NotImplementedError as error:  # langchain's answer for a model without tools
            raise CallFailed(Failure("schema refused", self.blot(str(error)) or f"no {way}")) from None
        except CallFailed:
            raise
        except Exception as error:
            if is_ours(error):
                raise
            raise CallFailed(self._blotted(classify(error))) from None  # the cause may show a key
        finally:
            left.set()
        seconds = time.perf_counter() - begun
        if tell is not None and not answer.usage_metadata:
            self.streams = False  # this once the tokens are estimated
        return _raw(answer, messages, seconds, self.blot)

    def open(self) -> Any:
        """The provider's chat model, made on first use."""
        with self._lock:
            if self._chat is None:
                self._chat = self.llm.open()
            return self._chat

    def blot(self, text: str) -> str:
        """`text` without any key in use."""
        for secret in self.llm.secrets:
            if value := secret.get_secret_value():
                text = text.replace(value, _BLOT)
        return text

    def _end_of(self, text: str) -> str:
        """The end of a growing reply, without any key, and without the beginning of one that may follow."""
        text = self.blot(text)
        for secret in self.llm.secrets:
            value = secret.get_secret_value()
            begun = next((size for size in range(len(value) - 1, 0, -1) if text.endswith(value[:size])), 0)
            text = text[: len(text) - begun]
        return text[-_TAIL:]

    def _blotted(self, failure: Failure) -> Failure:
        return replace(failure, text=self.blot(failure.text))

    def close(self) -> None:
        """Close the provider."""
        with self._lock:
            self._chat = None
            self.llm.close()


def _with_schema(message: tuple[str, str], schema: dict[str, Any]) -> tuple[str, str]:
    role, text = message
    return (
        role,
        f"{text}\n\nReply with one JSON object that follows this JSON schema, and nothing else:\n{json.dumps(schema)}",
    )


def _interruptible(call: Callable[[], Any], stop: Callable[[], bool] | None) -> Any:
    """Run `call`; if `stop` turns true first, leave it to end by itself and raise `Interrupted`."""
    if stop is None:
        return call()
    check_stop(stop)
    outcome: list[Any] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    threading.Thread(target=work, daemon=True, name="llm-call").start()
    while not done.wait(0.1):
        if stop():
            raise Interrupted("stopped while a model was answering", hint="run the same command again to go on")
    if failure:
        raise failure[0]
    return outcome[0]


def _raw(answer: Any, messages: Messages, seconds: float, blot: Callable[[str], str]) -> RawReply:
    parsed = None
    if isinstance(answer, dict):  # with_structured_output(include_raw=True)
        parsed, answer = answer.get("parsed"), answer["raw"]
    if parsed is not None and hasattr(parsed, "model_dump"):
        parsed = parsed.model_dump(mode="json")
    text = json.dumps(parsed) if parsed is not None else _text(answer)
    usage = getattr(answer, "usage_metadata", None) or {}
    prompt = usage.get("input_tokens") or sum(estimate_tokens(said) for _, said in messages)
    completion = usage.get("output_tokens") or estimate_tokens(text)
    about = getattr(answer, "response_metadata", None) or {}
    finish = about.get("finish_reason") or about.get("done_reason") or about.get("stop_reason")
    return RawReply(blot(text), int(prompt), int(completion), seconds, str(finish).lower() in ("length", "max_tokens"))


def _text(answer: Any) -> str:
    content = getattr(answer, "content", "")
    if not isinstance(content, str):
        parts = [part if isinstance(part, str) else part.get("text") or "" for part in content or ()]
        content = "".join(str(part) for part in parts)
    calls = getattr(answer, "tool_calls", None)
    return json.dumps(calls[0].get("args")) if calls and not content.strip() else content
