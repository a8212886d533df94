"""One configured model: opened on first use, asked in the form its server takes."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from ultra_agents.config import LLMConfig
from ultra_agents.contracts.llm import LLM, Structured, bound
from ultra_agents.contracts.secrets import Redactor, redacted
from ultra_agents.errors import LLMError, UltraError
from ultra_agents.llm.budget import Prices
from ultra_agents.llm.circuit_breaker import CircuitBreaker
from ultra_agents.llm.deadline import call_with_deadline
from ultra_agents.llm.failures import MAX_SHOWN, AskOtherwise, CallFailed, Failure, classify, stream_at_fault
from ultra_agents.llm.limits import RateLimits
from ultra_agents.llm.prices import table_prices
from ultra_agents.llm.question import Request
from ultra_agents.llm.replies import MAX_REPLY_CHARS, RawReply, all_in_reasoning, estimate_tokens, raw_reply
from ultra_agents.llm.streaming import OnText, Received, read_stream
from ultra_agents.llm.structured import json_objects
from ultra_agents.llm.tools import Tool, as_messages, calls_in_text, told_in_words, wire_form
from ultra_agents.llm.tracing import redacting_handler
from ultra_agents.registry import create_llm
from ultra_agents.text import valid_text

T = TypeVar("T")
Messages = Sequence[tuple[str, str]]

_SIMPLER: dict[Structured, Structured] = {
    "json_schema": "json_object",
    "json_object": "text",
    "format": "text",
    "tools": "text",
}
_SHOWN_CHARS = 600
"""Characters of a reply shown while it arrives, from its end."""
_UNLIMITED_TOKENS = 8192
"""Tokens of a reply counted against caps before the call where `max_tokens` is null."""


class Model:
    """An entry of `llms`.

    Args:
        name: Its name there.
        config: The entry.
        callbacks: langchain callback handlers of every call.
        warn: Told once of each thing a person should know: a parameter left out, replies lost in reasoning.

    Attributes:
        breaker: The provider's; the gateway lets entries of one server share it.
        way: How the schema is sent, simpler once the server has refused it.
        streams: Replies can be shown while they arrive; false once a stream of this server failed.
        left_out: Parameters the server does not take, in the order it said so.
        answered: It has given a reply, so what it refuses now is not its key, its name or its options.
        refused_in_a_row: Questions it refused without a known reason since its last reply.
        refuses_tools: Its server does not take tools.
    """

    def __init__(
        self,
        name: str,
        config: LLMConfig,
        callbacks: Sequence[Any] = (),
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name = name
        self.config = config
        self.llm: LLM = create_llm(config.provider, config.options)
        self.limits = RateLimits(config.concurrency, config.requests_per_minute, config.tokens_per_minute)
        self.breaker = CircuitBreaker(failures=5, rest_s=60.0)
        self.way: Structured = self.llm.way
        self.streams = self.llm.streams
        self.left_out: tuple[str, ...] = ()
        self.answered = False
        self.refused_in_a_row = 0
        self.refuses_tools = False
        self._callbacks = list(callbacks)
        self._warn = warn
        self._warned: set[str] = set()
        self._chat: Any = None
        self._checked = False
        self._lock = threading.Lock()
        self._checking = threading.Lock()

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
            LLMError: It cannot; `Unreachable` if that is transient: the next `check` tries again.
        """
        with self._checking:
            if not self._checked:
                self._redacting("checked", self.llm.check)
                self._checked = True

    @property
    def tools(self) -> Literal["native", "text"] | None:
        """How it is offered tools; None where it is not."""
        wanted = self.config.tools
        if wanted == "none" or (wanted is None and not self.llm.calls_tools):
            return None
        return "text" if (wanted == "text" or self.refuses_tools) and not self.llm.recorded else "native"

    def request(
        self, messages: Messages, schema: dict[str, Any], attempt: int, tools: Sequence[Tool] = ()
    ) -> dict[str, Any]:
        """Everything a reply depends on; its hash is the cache key."""
        request = {
            "provider": self.config.provider,
            "base_url": self.llm.base_url,
            "model": self.llm.model_name,
            "sampling": self.llm.sampling,
            "messages": [list(message) for message in messages],
            "schema": schema,
            "attempt": attempt,
        }
        return {**request, "tools": [dict(tool) for tool in tools]} if tools else request

    def max_tokens(self, messages: Messages, tools: Sequence[Tool] = ()) -> tuple[int, int]:
        """Upper estimates of the prompt's and the reply's tokens."""
        prompt = sum(estimate_tokens(text) + 8 for _, text in messages)
        prompt += sum(estimate_tokens(json.dumps(dict(tool))) for tool in tools)
        return prompt, int(self.llm.options.max_tokens or _UNLIMITED_TOKENS)

    def call(
        self,
        messages: Messages,
        schema: dict[str, Any],
        title: str,
        stop: Callable[[], bool] | None,
        on_text: OnText | None = None,
    ) -> RawReply:
        """Send one request in the form that suits the server, as far as that is known.

        A server that refuses the schema's form is asked in a simpler one from then on, one whose stream fails for
        whole replies, one that does not take a parameter without it.

        Args:
            messages: `(role, text)`.
            schema: Of the reply.
            title: Of the schema.
            stop: Polled; true ends the asking.
            on_text: Given the end of the reply while it arrives, where the provider streams.

        Raises:
            AskOtherwise: It failed, and the next request has another form: it is to be sent at once.
            CallFailed: Sorted by what can be done about it.
            UltraError: The provider cannot be opened, or the run was stopped.
        """
        way = self.way
        shown = on_text if self.streams and way != "tools" else None
        try:
            return self.call_in(way, messages, schema, title, stop, shown)
        except AskOtherwise:
            raise
        except CallFailed as error:
            if not self._adapted(way, error.failure, shown):
                raise
            otherwise = AskOtherwise(error.failure)
        raise otherwise

    def call_in(
        self,
        way: Structured,
        messages: Messages,
        schema: dict[str, Any],
        title: str,
        stop: Callable[[], bool] | None,
        on_text: OnText | None = None,
    ) -> RawReply:
        """Send one request, the schema sent in this `way`, without parameters not taken; raises as `call`."""
        if way in ("text", "json_object"):
            messages = [*messages[:-1], _with_schema(messages[-1], schema)]
        return self._sent(Request(messages, lambda chat: bound(chat, schema, way, title)), stop, on_text)

    def call_with_tools(self, messages: Messages, tools: Sequence[Tool], stop: Callable[[], bool] | None) -> RawReply:
        """Send one request in which tools may be called: as such, or in words where the server does not know tools.

        Args:
            messages: `(role, text)`, the roles of `ultra_agents.llm.tools` among them.
            tools: What may be called.
            stop: Polled; true ends the asking.

        Raises: As `call`.
        """
        way = self.tools
        if way == "text":
            reply = self._sent(Request(told_in_words(messages, tools), lambda chat: chat), stop)
            calls = calls_in_text(json_objects(reply.text))
            return replace(reply, text=reply.text.partition("{")[0].strip(), calls=calls) if calls else reply
        try:
            return self._sent(Request(messages, lambda chat: chat.bind_tools(wire_form(tools)), may_call=True), stop)
        except AskOtherwise:
            raise
        except CallFailed as error:
            if error.failure.kind != "schema refused":
                raise
            self._warn_once(
                f"the server of the model {self.name!r} does not take tools: it is told of them in words "
                f"(llms.{self.name}.tools: text says so from the start, none offers it none): {error.failure.text}"
            )
            self.refuses_tools = True
            otherwise = AskOtherwise(error.failure)
        raise otherwise

    def _sent(self, request: Request, stop: Callable[[], bool] | None, on_text: OnText | None = None) -> RawReply:
        """Send a request, without parameters not taken; raises as `call`."""
        chat = self.open()
        try:
            return self._invoke(chat, request, stop, on_text)
        except CallFailed as error:
            if error.failure.kind != "parameter refused" or not self._left_out(chat, error.failure):
                raise
            otherwise = AskOtherwise(error.failure)
        raise otherwise

    def _adapted(self, way: Structured, failure: Failure, shown: OnText | None) -> bool:
        """Learn from a failure what form the next request must have; whether it is to be sent at once."""
        if shown is not None and stream_at_fault(failure):
            self.streams = False
            if failure.kind != "transient" or failure.status is None:
                shown("")  # what there was of it is no part of the next one
                return True
        simpler = _SIMPLER.get(way)
        if failure.kind != "schema refused" or simpler is None:
            return False
        self._warn_once(
            f"the server of the model {self.name!r} does not take a schema as {way}: it is asked by {simpler} "
            f"(ultra llm check finds the best way, options.structured names it): {failure.text}"
        )
        with self._lock:
            if self.way == way:
                self.way = simpler
        return True

    def _invoke(
        self,
        chat: Any,
        request: Request,
        stop: Callable[[], bool] | None,
        on_text: OnText | None,
    ) -> RawReply:
        said = as_messages(request.messages, as_recorded=self.llm.recorded)
        redact, timeout_s = self.redactor(), self.llm.options.timeout_s
        handlers = [redacting_handler(handler, redact) for handler in self._callbacks]
        traced: Any = {"callbacks": handlers} if handlers else None
        abandoned = threading.Event()
        received = Received()
        begun = time.perf_counter()
        context = contextvars.copy_context()  # the call's thread still belongs to what is being traced

        def ask() -> Any:
            runnable = request.bound(chat)
            if on_text is None:
                return runnable.invoke(said, traced)
            show = _end_shown(on_text, redact)
            return read_stream(runnable.stream(said, traced), show, timeout_s, abandoned.is_set, received)

        problem: UltraError | CallFailed
        try:
            answer = call_with_deadline(lambda: context.run(ask), timeout_s, stop)
            seconds = time.perf_counter() - begun
            reply = raw_reply(answer, request.messages, seconds, redact, request.may_call)
        except NotImplementedError as error:  # langchain's answer for a model without tools
            problem = CallFailed(Failure("schema refused", redact(str(error))[:MAX_SHOWN] or "no tools"))
        except CallFailed as error:
            problem = CallFailed(_with_received(error.failure, received, redact))
        except UltraError as error:
            problem = redacted(error, redact)
        except Exception as error:
            problem = CallFailed(_with_received(classify(error, redact), received, redact))
        else:
            self._learn_from(answer, on_text is not None)
            return reply
        finally:
            abandoned.set()
        raise problem  # here, so that it does not carry the client's own error, and the key in it, as its context

    def _learn_from(self, answer: Any, streamed: bool) -> None:
        self.answered, self.refused_in_a_row = True, 0
        if streamed and not answer.usage_metadata:
            self.streams = False  # this once the tokens are estimated
        if all_in_reasoning(answer):
            can = "reasoning" in type(self.llm.options).model_fields
            off = "set options.reasoning: false" if can else "turn its reasoning off"
            self._warn_once(
                f"the model {self.name!r} wrote all of its reply as reasoning and nothing as the reply: {off}, or "
                "raise options.max_tokens"
            )

    def _left_out(self, chat: Any, failure: Failure) -> bool:
        """Leave out what the server does not take; whether asking again makes sense."""
        with self._lock:
            if self._chat is not chat:
                return True  # another thread was told the same
            name = next((name for name in failure.parameters if self.llm.leave_out(name)), None)
            if name is None:
                return False
            self._chat = None
            self.left_out = (*self.left_out, name)
        option = {"max_completion_tokens": "max_tokens"}.get(name, name)
        instead = "it is left out" if name != "max_completion_tokens" else "it is sent max_tokens instead, if anything"
        self._warn_once(
            f"the server of the model {self.name!r} does not take {name}: {instead} (options.{option}: null says so "
            f"from the start): {failure.text}"
        )
        return True

    def open(self) -> Any:
        """The provider's chat model, made on first use."""
        with self._lock:
            if self._chat is None:
                self._chat = self._redacting("opened", self.llm.open)
            return self._chat

    def redactor(self) -> Redactor:
        """Takes the keys in use out of texts that are written down or shown."""
        try:
            return Redactor(self.llm.secrets)
        except LLMError:  # no readable key: there is none in use
            return Redactor(())

    def _redacting(self, what: str, step: Callable[[], T]) -> T:
        """What a step of the provider returns; what it raises holds no key, whoever stores it."""
        problem: UltraError
        try:
            return step()
        except UltraError as error:
            problem = redacted(error, self.redactor())
        except Exception as error:
            said = self.redactor()(f"{type(error).__name__}: {' '.join(str(error).split())}")[:MAX_SHOWN]
            problem = LLMError(
                f"the model {self.name!r} cannot be {what}",
                found=said,
                hint=f"check llms.{self.name}.options; if they are right, this is a defect of the provider's plugin",
            )
        raise problem

    def _warn_once(self, text: str) -> None:
        with self._lock:
            new = text not in self._warned
            self._warned.add(text)
        if new:
            self._warn(text)

    def close(self) -> None:
        """Close the provider."""
        with self._lock:
            self._chat = None
            self.llm.close()


def _end_shown(on_text: OnText, redact: Redactor) -> OnText:
    """`on_text`, given only the end of a text, without keys and without the beginning of one that may follow."""
    return lambda text: on_text(redact.before_cut_key(redact(text))[-_SHOWN_CHARS:])


def _with_received(failure: Failure, received: Received, redact: Redactor) -> Failure:
    """The failure of a request whose reply had begun to arrive: it has cost something, and what came is kept."""
    if not received.text:
        return failure
    said = redact.before_cut_key(redact(valid_text(received.text)))[:MAX_REPLY_CHARS]
    return replace(failure, charged=True, reply=failure.reply or said)


def _with_schema(message: tuple[str, str], schema: dict[str, Any]) -> tuple[str, str]:
    role, text = message
    return (
        role,
        f"{text}\n\nReply with one JSON object that follows this JSON schema, and nothing else:\n{json.dumps(schema)}",
    )
