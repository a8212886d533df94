"""One question to a chain of models: each is called with retries, the next one where that one cannot answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NoReturn

from ultra_agents.config import GatewayConfig
from ultra_agents.contracts.llm import question_key
from ultra_agents.events import AgentAsked, Emit, EmitStreaming, ReplyStreaming, Warned
from ultra_agents.llm.budget import Budget, cost_of, usage_of
from ultra_agents.llm.cache import AnswerCache, cache_key
from ultra_agents.llm.circuit_breaker import CircuitBreaker
from ultra_agents.llm.errors import no_answer, one_line, refused
from ultra_agents.llm.exchange_log import ExchangeLog
from ultra_agents.llm.failures import OF_ONE_QUESTION, AskOtherwise, CallFailed, Failure
from ultra_agents.llm.model import Model
from ultra_agents.llm.question import Question
from ultra_agents.llm.replies import RawReply, estimate_tokens
from ultra_agents.llm.retry import call_with_retries, check_stop
from ultra_agents.llm.streaming import OnText
from ultra_agents.llm.structured import ReplyDropped

MAX_REFUSED_IN_A_ROW = 10
"""Unexplained refusals after which it is the model, not the questions."""


class FallbackChain:
    """Calls models and keeps what they answered.

    Args:
        config: How they are asked.
        cache: Where answers are kept.
        budget: What may be spent.
        log: Where exchanges are written down.
        emit: Where events go.
        emit_streaming: Given the text of replies while they arrive; None without a live display.
    """

    def __init__(
        self,
        config: GatewayConfig,
        cache: AnswerCache,
        budget: Budget,
        log: ExchangeLog,
        emit: Emit,
        emit_streaming: EmitStreaming | None,
    ) -> None:
        self._config = config
        self._cache = cache
        self._budget = budget
        self._log = log
        self._emit = emit
        self._emit_streaming = emit_streaming

    def ask(self, question: Question, chain: Sequence[tuple[Model, str]]) -> tuple[Model, str, RawReply]:
        """Ask each model of the chain until one answers, those with an open breaker last.

        Args:
            question: What.
            chain: Models with their cache keys.

        Returns:
            Who answered, its cache key, the reply.

        Raises:
            ReplyDropped: No model of the chain takes this question, though other questions may be answered.
            LLMError: A model refuses every question (key, name, credit), or none can be reached.
        """
        unanswered: tuple[Model, Failure] | None = None
        dropped: Failure | None = None
        asked, down = set[str](), list[CircuitBreaker]()
        for skip_resting in (True, False):
            for position, (model, key) in enumerate(chain):
                if model.name in asked or model.breaker in down or (skip_resting and not model.breaker.allows()):
                    continue
                asked.add(model.name)
                if unanswered is not None:
                    self._emit(
                        Warned(
                            f"the model {unanswered[0].name!r} does not answer ({one_line(unanswered[1])}); "
                            f"asking the next one, {model.name!r}"
                        )
                    )
                self._emit(AgentAsked(question.agent, question.segment, model.name))
                others = [other.breaker for other, _ in chain[position + 1 :] if other.breaker is not model.breaker]
                try:
                    return model, key, self._call(question, model, key, others)
                except CallFailed as error:
                    failure = error.failure
                if _of_this_question(failure, model):
                    dropped = dropped or failure
                    continue
                if failure.kind != "transient":
                    raise refused(model, failure)
                model.breaker.open()
                down.append(model.breaker)
                unanswered = model, failure
        if dropped is not None:
            _drop(dropped)
        assert unanswered is not None, "the second round asks whoever rests"
        raise no_answer(*unanswered, self._config.retries)

    def keep(self, question: Question, model: Model, reply: RawReply) -> None:
        """Put a reply to `question` into the cache that is no answer of `model`, but what was made of it."""
        request = model.request(question.messages, question.schema, question.attempt, question.tools)
        self._cache.put(cache_key(request), reply, _about(question, model))

    def _call(self, question: Question, model: Model, key: str, others: list[CircuitBreaker]) -> RawReply:
        """Call one model until it answers; given up sooner where one of the `others` can be asked instead."""
        prompt, completion = model.max_tokens(question.messages, question.tools)
        money = cost_of(model.prices, prompt, completion)
        about = _about(question, model)

        def one_request() -> RawReply:
            with ExitStack() as held:
                held.enter_context(model.limits.slot(prompt + completion, question.stop))
                if not model.llm.recorded:
                    held.enter_context(self._budget.hold(question.agent, prompt + completion, money))
                    model.open()  # what can fail before anything is sent fails before it counts
                    check_stop(question.stop)
                    self._log.call_begins(question, model, key, prompt)
                if question.tools:
                    reply = model.call_with_tools(question.messages, question.tools, question.stop)
                else:
                    shown = self._on_text(question, model)
                    reply = model.call(question.messages, question.schema, question.title, question.stop, shown)
                if not model.llm.recorded:
                    self._log.call_answered(question, model, key, reply)
                    self._budget.add(question.agent, usage_of(model.prices, reply))
            model.breaker.succeeded()
            stored = self._cache.put(key, reply, about)
            return replace(reply, text=stored.text, cut=stored.cut, flaw=stored.flaw, calls=stored.calls)

        def write_down(failure: Failure) -> None:
            written = estimate_tokens(failure.reply) if failure.reply else 0
            lost = RawReply(failure.reply, prompt, written, 0.0) if failure.charged else RawReply("", 0, 0, 0.0)
            if failure.charged:
                self._budget.add(question.agent, usage_of(model.prices, lost))
            verdict = f"failed: {one_line(failure)}"
            self._log.exchange(question, model, key, lost, verdict, charged=failure.charged)

        def once() -> RawReply:
            while True:
                try:
                    return one_request()
                except AskOtherwise as error:
                    write_down(error.failure)

        def on_failure(failure: Failure) -> None:
            if failure.kind == "transient":
                model.breaker.failed()
            write_down(failure)

        def give_up() -> bool:
            return model.breaker.state == "open" and any(breaker.state != "open" for breaker in others)

        config = self._config
        try:
            return call_with_retries(once, config.retries, config.retry_wait_s, question.stop, on_failure, give_up)
        finally:
            model.breaker.end_probe()

    def _on_text(self, question: Question, model: Model) -> OnText | None:
        """Takes the text of a reply while it arrives; None without a live display."""
        if (emit_streaming := self._emit_streaming) is None:
            return None
        return lambda text: emit_streaming(ReplyStreaming(question.agent, question.segment, model.name, text))


def _about(question: Question, model: Model) -> dict[str, str]:
    """What a cassette says of an answer."""
    return {
        "question": question_key(question.messages, question.schema, question.tools),
        "provider": model.config.provider,
        "model": model.llm.model_name,
    }


def _of_this_question(failure: Failure, model: Model) -> bool:
    """Whether other questions may be answered: by what was said, or because the model has answered before."""
    if failure.kind != "unexplained":
        return failure.kind in OF_ONE_QUESTION
    model.refused_in_a_row += 1
    return model.answered and model.refused_in_a_row <= MAX_REFUSED_IN_A_ROW


def _drop(failure: Failure) -> NoReturn:
    reason = "refused by the server" if failure.kind == "unexplained" else failure.kind
    raise ReplyDropped(reason, failure.text, failure.reply)
