"""The one door to every language model: structured replies, repair, retry, fallback, cache, budget, transcript.

Flow of one question: cache of every model of the chain, then the first model that is not resting (budget held, turn
taken, retried while failures pass), the next model where one is down for good; parse, one repair ask, or a drop.

Whether the models can be reached is found out at the first question that no cache answers, before anything is spent:
a run whose answers are all there needs no server, no key and no weights.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.contracts.llm import Unreachable, question_key
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.events import AgentAsked, AgentSpoke, Emit, EmitStreaming, ReplyStreaming, Warned, ignore
from ultra_agents.llm import tracing
from ultra_agents.llm.budget import Budget, cost_of, usage_of
from ultra_agents.llm.cache import AnswerCache, RawReply, cache_key
from ultra_agents.llm.circuit_breaker import Breaker
from ultra_agents.llm.failures import gone, no_price, not_recorded, refuses, status
from ultra_agents.llm.limits import OneAtATime
from ultra_agents.llm.model import Model
from ultra_agents.llm.retry import CallFailed, Failure, ask_again
from ultra_agents.llm.streaming import Tell
from ultra_agents.llm.structured import Reply, ReplyDropped, parse_reply, repair_messages, reply_schema
from ultra_agents.llm.transcript import Transcript
from ultra_agents.records import Usage

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Answer(Generic[Reply]):
    """A validated reply.

    Attributes:
        value: The instance.
        model: Name of the model that gave it, as in `llms`.
        usage: What it cost, a repair included.
        cached: Nothing was asked; it came from the cache.
    """

    value: Reply
    model: str
    usage: Usage
    cached: bool


@dataclass(frozen=True)
class _Asking:
    """Who asks what, for the transcript."""

    agent: str
    segment: str
    schema: dict[str, Any]
    title: str
    stop: Stop | None
    step: int | None = None


class Gateway:
    """Asks models; safe to use from many threads. A context manager: leaving it closes every provider.

    Args:
        llms: Models by name.
        config: How they are asked.
        folder: The run's folder, for the transcript and, by default, the cache.
        emit: Where `AgentSpoke` events go.
        stop: Polled while models are asked, beside the `stop` of a question; true ends the asking.
        chains: Models that will stand in for each other (`AgentConfig.chains`): each must have one that can be
            reached when the first answer is needed. Default: a chain is looked at when it is first asked.
        grow: Told of replies while they are written, where a provider streams; None where nobody looks.
    """

    def __init__(
        self,
        llms: Mapping[str, LLMConfig],
        config: GatewayConfig,
        folder: Path,
        emit: Emit = ignore,
        stop: Stop | None = None,
        chains: Iterable[Sequence[str]] = (),
        grow: EmitStreaming | None = None,
    ) -> None:
        if not llms:
            raise ConfigError("no language model is configured", expected="at least one entry under llms")
        self.config = config
        callbacks = tracing.load_callbacks(config.callbacks)
        self._models = {name: Model(name, entry, callbacks) for name, entry in llms.items()}
        breakers: dict[tuple[str, str], Breaker] = {}
        for model in self._models.values():
            provider = model.config.provider, model.llm.base_url
            model.breaker = breakers.setdefault(provider, Breaker(config.breaker, config.rest_s))
        self._replay = config.mode == "replay"
        self._transcript = Transcript(folder / "transcript.jsonl")
        self._cache = AnswerCache(config.cache or folder / "llm-cache.sqlite", must_exist=self._replay)
        self._budget = Budget(config.budget, self._transcript.usage())
        self._emit = emit
        self._stop = stop
        self._grow = grow
        self._unseen = [list(dict.fromkeys(map(self._model, chain or (None,)))) for chain in chains]
        self._alone = OneAtATime()
        self._looking = threading.Lock()
        self._left = ExitStack()

    def __enter__(self) -> Gateway:
        if not self.config.tracing and (variable := tracing.asked_for()) is not None:
            self._emit(Warned(f"{variable} is set, but nothing is traced unless gateway.tracing is true"))
            self._left.enter_context(tracing.untraced())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every provider and the cache; safe to call twice."""
        try:
            problems = []
            for model in self._models.values():
                try:
                    model.close()
                except Exception as error:
                    problems.append(model.blot(f"closing the model {model.name}: {type(error).__name__}: {error}"))
            for problem in problems:
                self._emit(Warned(problem))
        finally:
            self._left.close()
            self._cache.close()

    def check(self, models: Sequence[str] = ()) -> None:
        """Find out, spending nothing, whether `models` (default: all) can be reached; nothing in replay.

        Raises:
            LLMError: One cannot; it is named.
        """
        for name in () if self._replay else models or tuple(self._models):
            self._model(name).check()

    def context_tokens(self, model: str | None = None) -> int | None:
        """Context window in tokens of a model (default: the first), where its provider knows it."""
        return self._model(model or next(iter(self._models))).llm.context_tokens

    def model_label(self, model: str | None = None) -> str:
        """`provider:model` of an entry of `llms` (default: the first), for tables and reports."""
        return self._model(model or next(iter(self._models))).label

    def usage(self) -> dict[str, Usage]:
        """What each agent has used, earlier parts of a resumed run included."""
        return self._transcript.usage()

    def ask(
        self,
        *,
        agent: str,
        segment: str,
        models: Sequence[str | None],
        messages: Sequence[tuple[str, str]],
        reply: type[Reply],
        stop: Stop | None = None,
        step: int | None = None,
    ) -> Answer[Reply]:
        """Ask until a validated `reply` is there, or give the question up.

        Args:
            agent: Who asks (`identifier`, ...).
            segment: About what.
            models: Names in `llms`, asked in turn as they fail; None, or an empty list, is the first of all.
            messages: `(role, text)`; roles are `system`, `user`, `assistant`.
            reply: What the answer must be.
            stop: Polled; true ends the asking.
            step: The environment step it is about, where it is about one; for the transcript.

        Raises:
            ReplyDropped: No usable reply, even after one repair; count the reason and go on.
            LLMError: No model of the chain can be used.
            BudgetReached: The next call could exceed a cap.
            Interrupted: `stop` said so.
        """
        chain = list(dict.fromkeys(self._model(name) for name in models or (None,)))
        asking = _Asking(agent, segment, reply_schema(reply), reply.__name__, self._either(stop), step)
        conversation = list(messages)
        usage = Usage()
        for attempt in (0, 1):
            model, key, raw, cached = self._reply(chain, conversation, attempt, asking)
            cost = Usage(cached=1) if cached else usage_of(model.prices, raw)
            usage += cost
            try:
                value = parse_reply(raw.text, reply, raw.cut)
            except ReplyDropped as problem:
                self._note(model, key, conversation, attempt, asking, raw, cached, problem.reason)
                if attempt == 1:
                    raise
                conversation = repair_messages(conversation, raw.text, problem, asking.schema)
                chain = [model, *(other for other in chain if other is not model)]
                continue
            self._note(model, key, conversation, attempt, asking, raw, cached, "ok")
            return Answer(value, model.name, usage, usage.calls == 0)
        raise AssertionError("unreachable")

    def _model(self, name: str | None) -> Model:
        name = next(iter(self._models)) if name is None else name
        try:
            return self._models[name]
        except KeyError:
            raise ConfigError(
                f"no model is called {name!r}",
                expected=f"one of: {', '.join(self._models)}",
                hint=did_you_mean(name, self._models),
            ) from None

    def _either(self, stop: Stop | None) -> Stop | None:
        own = self._stop
        return stop or own if own is None or stop is None else lambda: own() or stop()

    def _reply(
        self, chain: list[Model], messages: list[tuple[str, str]], attempt: int, asking: _Asking
    ) -> tuple[Model, str, RawReply, bool]:
        """A raw reply from the cache or from the first model of the chain that gives one; whose, its key, cached."""
        keys = [cache_key(model.request(messages, asking.schema, attempt)) for model in chain]
        with self._alone.turn(keys[0], asking.stop):  # the others find the answer in the cache
            for model, key in zip(chain, keys, strict=True):
                if (found := self._cache.get(key)) is not None:
                    return model, key, found, True
            if self._replay:
                raise not_recorded(chain[0], keys[0], self._cache.path, f"{asking.agent} on {asking.segment}")
            self._look(chain)
            return self._first_to_answer(list(zip(chain, keys, strict=True)), messages, attempt, asking)

    def _look(self, asked: list[Model]) -> None:
        """Before the first call: is there somebody to ask, in every chain? A failing stand-in only rests."""
        with self._looking:
            for chain in (*self._unseen, asked):
                problem: Unreachable | None = None
                reached = False
                for model in chain:
                    if len(chain) > 1 and model.breaker.state == "open":
                        continue  # waiting for it at every question would be the price of a fallback
                    try:
                        model.check()
                    except Unreachable as error:
                        self._emit(Warned(f"the model {model.name!r} cannot be reached: {error.problem}"))
                        model.breaker.trip()
                        problem = problem or error
                        continue
                    reached = True
                    if self._budget.capped_money and model.prices is None:
                        raise no_price(model)
                if problem is not None and not reached:
                    raise problem
            self._unseen = []

    def _first_to_answer(
        self, chain: list[tuple[Model, str]], messages: list[tuple[str, str]], attempt: int, asking: _Asking
    ) -> tuple[Model, str, RawReply, bool]:
        """Ask the chain in turn, leaving out who rests; where all rest, they are asked all the same."""
        lost: tuple[Model, Failure] | None = None
        for impatient in (True, False):
            for position, (model, key) in enumerate(chain):
                if impatient and not model.breaker.admits():
                    continue
                if lost is not None:
                    self._emit(
                        Warned(
                            f"the model {lost[0].name!r} does not answer ({status(lost[1])}); "
                            f"asking the next one, {model.name!r}"
                        )
                    )
                self._emit(AgentAsked(asking.agent, asking.segment, model.name))
                others = [other.breaker for other, _ in chain[position + 1 :] if other.breaker is not model.breaker]
                try:
                    raw = self._live(model, key, messages, attempt, asking, others)
                except CallFailed as error:
                    if error.failure.kind == "prompt too long":
                        raise ReplyDropped("prompt too long", error.failure.text) from None
                    if error.failure.kind != "passing":
                        raise refuses(model, error.failure) from None
                    model.breaker.trip()
                    lost = model, error.failure
                    continue
                return model, key, raw, model.llm.recorded
            if lost is not None:
                raise gone(*lost, self.config.retries) from None
        raise AssertionError("unreachable")

    def _live(
        self,
        model: Model,
        key: str,
        messages: list[tuple[str, str]],
        attempt: int,
        asking: _Asking,
        others: list[Breaker],
    ) -> RawReply:
        """Call one model until it answers; sooner given up where one of the `others` can be asked instead."""
        prompt, completion = model.most_tokens(messages)
        money = cost_of(model.prices, prompt, completion)
        about = {
            "question": question_key(messages, asking.schema),
            "provider": model.config.provider,
            "model": model.llm.model_name,
        }

        def once() -> RawReply:
            with ExitStack() as held:
                held.enter_context(model.limits.turn(prompt + completion, asking.stop))
                if not model.llm.recorded:
                    held.enter_context(self._budget.hold(asking.agent, prompt + completion, money))
                reply = model.call(messages, asking.schema, asking.title, asking.stop, self._tell(asking, model))
                if not model.llm.recorded:
                    self._budget.add(asking.agent, usage_of(model.prices, reply))
            model.breaker.succeeded()
            self._cache.put(key, reply, about)
            return reply

        def failed(failure: Failure) -> None:
            lost = RawReply("", prompt if failure.charged else 0, 0, 0.0)
            if failure.charged:
                self._budget.add(asking.agent, usage_of(model.prices, lost))
            if failure.kind == "passing":
                model.breaker.failed()
            verdict = f"failed: {status(failure)}"
            self._note(model, key, messages, attempt, asking, lost, False, verdict, failure.charged)

        def give_up() -> bool:
            return model.breaker.state == "open" and any(breaker.state != "open" for breaker in others)

        try:
            return ask_again(once, self.config.retries, self.config.retry_wait_s, asking.stop, failed, give_up)
        finally:
            model.breaker.settle()

    def _tell(self, asking: _Asking, model: Model) -> Tell | None:
        """What a reply of `model` is given to while it is written; None where nobody looks."""
        if (grow := self._grow) is None:
            return None
        return lambda text: grow(ReplyStreaming(asking.agent, asking.segment, model.name, text))

    def _note(
        self,
        model: Model,
        key: str,
        messages: list[tuple[str, str]],
        attempt: int,
        asking: _Asking,
        raw: RawReply,
        cached: bool,
        verdict: str,
        charged: bool = True,
    ) -> None:
        """Write one line of the transcript and tell the display."""
        self._transcript.append(
            {
                "agent": asking.agent,
                "segment": asking.segment,
                "step": asking.step,
                "model": model.name,
                "provider": model.config.provider,
                "key": key,
                "attempt": attempt,
                "messages": [[role, model.blot(text)] for role, text in messages],
                "reply": raw.text[:100_000],
                "prompt_tokens": raw.prompt_tokens,
                "completion_tokens": raw.completion_tokens,
                "seconds": round(raw.seconds, 4),
                "cost": 0.0 if cached or not charged else usage_of(model.prices, raw).cost,
                "cached": cached,
                "charged": charged and not cached,
                "verdict": verdict,
            }
        )
        self._emit(
            AgentSpoke(
                asking.agent,
                asking.segment,
                model.name,
                raw.text[:20_000],
                cached,
                raw.prompt_tokens,
                raw.completion_tokens,
                raw.seconds,
                verdict,
                0.0 if cached or not charged else usage_of(model.prices, raw).cost,
            )
        )
