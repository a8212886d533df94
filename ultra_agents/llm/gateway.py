"""The one door to every language model: structured replies, repair, retry, fallback, cache, budget, transcript.

Flow of one question: cache of every model of the chain, then the first model that is not resting (budget held, rate
limited, retried while failures are transient), the next model where one cannot answer; parse, one repair ask, or a
drop.

Whether the models can be reached is found out at the first question that no cache answers, before anything is spent:
a run whose answers are all there needs no server, no key and no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeAlias

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.contracts.llm import NotRecorded, Unreachable
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.events import Emit, EmitStreaming, Warned, ignore
from ultra_agents.llm import tracing
from ultra_agents.llm.availability import Availability
from ultra_agents.llm.budget import Budget, usage_of
from ultra_agents.llm.cache import AnswerCache, cache_key
from ultra_agents.llm.circuit_breaker import CircuitBreaker
from ultra_agents.llm.errors import not_recorded
from ultra_agents.llm.exchange_log import ExchangeLog
from ultra_agents.llm.fallback import FallbackChain
from ultra_agents.llm.model import Model
from ultra_agents.llm.person_notes import digest_of, with_notes
from ultra_agents.llm.question import Question
from ultra_agents.llm.replies import RawReply
from ultra_agents.llm.single_flight import SingleFlight
from ultra_agents.llm.structured import Reply, ReplyDropped, parse_reply, repair_messages, reply_schema
from ultra_agents.llm.tools import Call, Tool
from ultra_agents.records import Usage
from ultra_agents.records.cases import NOT_RECORDED
from ultra_agents.runs.notes import Notebook
from ultra_agents.text import counted, valid_text

Stop: TypeAlias = Callable[[], bool]


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
class Turn(Generic[Reply]):
    """A turn in which a model could call tools: it calls some, has given the reply already, or neither.

    Attributes:
        said: What it said beside its calls.
        calls: The calls, at most `ultra_agents.llm.tools.MAX_CALLS`.
        value: The reply, where it called nothing and gave one that can be used.
    """

    said: str
    calls: tuple[Call, ...]
    value: Reply | None


class Gateway:
    """Asks models; safe to use from many threads. A context manager: leaving it closes every provider.

    Args:
        llms: Models by name.
        config: How they are asked.
        folder: The run's folder, for the transcript and, by default, the cache.
        emit: Where `AgentSpoke` events go.
        stop: Polled while models are asked, beside the `stop` of a question; true ends the asking.
        chains: Models that will stand in for each other (`AgentConfig.chains`): each must have one that can be
            reached when the first answer is needed. Default: a chain is checked when it is first asked.
        emit_streaming: Given the text of replies while they arrive, if a provider streams; None: no live display.
    """

    def __init__(
        self,
        llms: Mapping[str, LLMConfig],
        config: GatewayConfig,
        folder: Path,
        emit: Emit = ignore,
        stop: Stop | None = None,
        chains: Iterable[Sequence[str]] = (),
        emit_streaming: EmitStreaming | None = None,
    ) -> None:
        if not llms:
            raise ConfigError("no language model is configured", expected="at least one entry under llms")
        self.config = config
        callbacks = tracing.load_callbacks(config.callbacks)
        self._emit = emit
        self._stop = stop
        self._models = {
            name: Model(name, entry, callbacks, lambda text: emit(Warned(text))) for name, entry in llms.items()
        }
        breakers: dict[tuple[str, str], CircuitBreaker] = {}
        for model in self._models.values():
            server = model.config.provider, model.llm.base_url
            model.breaker = breakers.setdefault(server, CircuitBreaker(config.breaker, config.rest_s))
        self._replay = config.mode == "replay"
        self._log = ExchangeLog(folder, emit)
        self._count_unseen()
        self._notebook = Notebook(folder, self._log.asked())
        own = folder / "llm-cache.sqlite"
        self._cache = AnswerCache(config.cache or own, must_exist=self._replay, spare=own)
        self._flight = SingleFlight(self._cache)
        budget = Budget(config.budget, self._log.usage())
        self._chain = FallbackChain(config, self._cache, budget, self._log, emit, emit_streaming)
        unchecked = [list(dict.fromkeys(map(self._model, chain or (None,)))) for chain in chains]
        self._availability = Availability(unchecked, budget.capped_money, emit)
        self._entered = ExitStack()

    def __enter__(self) -> Gateway:
        if self.config.tracing:
            self._entered.enter_context(tracing.redacted_traces([model.redactor for model in self._models.values()]))
        elif (variable := tracing.asked_for()) is not None:
            self._emit(Warned(f"{variable} is set, but nothing is traced unless gateway.tracing is true"))
            self._entered.enter_context(tracing.untraced())
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
                    problems.append(
                        model.redactor()(f"closing the model {model.name}: {type(error).__name__}: {error}")
                    )
            for problem in problems:
                self._emit(Warned(problem))
        finally:
            self._entered.close()
            self._flight.close()
            self._cache.close()

    def usage(self) -> dict[str, Usage]:
        """What each agent has used, earlier parts of a resumed run included."""
        return self._log.usage()

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
            messages: `(role, text)`; roles are `system`, `user`, `assistant`. Sent as they are, with a person's notes
                before the first of the user where there are some (`runs.notes`).
            reply: What the answer must be.
            stop: Polled; true ends the asking.
            step: The environment step it is about, where it is about one; for the transcript.

        Raises:
            ReplyDropped: No usable reply, even after the whole chain and one repair, or none recorded where
                `config.missing` is `drop`; count the reason and go on.
            LLMError: No model of the chain can be used.
            BudgetReached: The next call could exceed a cap.
            Interrupted: `stop` said so.
        """
        chain = list(dict.fromkeys(self._model(name) for name in models or (None,)))
        said = [(role, valid_text(text)) for role, text in messages]
        digest = digest_of(agent, segment, step, reply.__name__, said)
        notes = self._notebook.read_with(digest)
        said = with_notes(said, notes)
        schema, seen = reply_schema(reply), tuple(one.id for one in notes)
        question = Question(
            agent, segment, schema, reply.__name__, said, self._either(stop), step, digest=digest, notes=seen
        )
        usage = Usage()
        refusal: ReplyDropped | None = None
        while True:
            try:
                model, key, raw, cached = self._recorded_or_asked(chain, question)
            except ReplyDropped as problem:
                if refusal is not None:
                    raise refusal from None  # the others of the chain did no better
                if problem.reason != "malformed reply" or question.attempt == 1:
                    raise
                # a server's word for a reply it did not give: kept and read as one, so that a replay repairs it alike
                self._chain.keep(question, chain[0], RawReply(problem.text, 0, 0, 0.0, flaw=problem.reason))
                read = ReplyDropped(problem.reason, problem.text[:200])
                question = question.repair(repair_messages(said, problem.text, read, question.schema))
                continue
            usage += Usage(cached=1) if cached else usage_of(model.prices, raw)
            try:
                value = parse_reply(raw.text, reply, raw.cut, raw.flaw)
            except ReplyDropped as problem:
                self._log.exchange(question, model, key, raw, problem.reason, cached=cached)
                rest = chain[chain.index(model) + 1 :]
                if problem.reason == "refused by the model":
                    if not rest:
                        raise refusal or problem from None
                    refusal, chain = refusal or problem, rest
                    continue
                if question.attempt == 1:
                    raise
                question = question.repair(repair_messages(said, raw.text, problem, question.schema))
                chain = [model, *(other for other in chain if other is not model)]
                continue
            self._log.exchange(question, model, key, raw, "ok", cached=cached)
            return Answer(value, model.name, usage, usage.calls == 0)

    def calls_tools(self, models: Sequence[str | None]) -> bool:
        """Whether the first of a chain of models is offered tools."""
        return self._model(next(iter(models), None)).tools is not None

    def turn(
        self,
        *,
        agent: str,
        segment: str,
        models: Sequence[str | None],
        messages: Sequence[tuple[str, str]],
        tools: Sequence[Tool],
        reply: type[Reply],
        stop: Stop | None = None,
        step: int | None = None,
    ) -> Turn[Reply]:
        """Ask once, with tools to call; like any question it is cached, held to budgets, retried and written down.

        A turn that a server drops (`malformed reply`, ...) calls nothing, and is kept as such, so that a replay goes
        on as the run did.

        Args:
            agent: Who asks.
            segment: About what.
            models: As for `ask`; those that take no tools are left out.
            messages: The conversation, with the calls and results of earlier turns (`ultra_agents.llm.tools`).
            tools: What may be called.
            reply: What the model gives when it needs no tool; the messages must say how.
            stop: Polled; true ends the asking.
            step: The environment step it is about, where it is about one.

        Raises:
            ReplyDropped: A recording lacks the turn, and `config.missing` is `drop`.
            LLMError, BudgetReached, Interrupted: As `ask`.
        """
        every = dict.fromkeys(self._model(name) for name in models or (None,))
        chain = [model for model in every if model.tools is not None]
        said = [(role, valid_text(text)) for role, text in messages]
        question = Question(agent, segment, {}, reply.__name__, said, self._either(stop), step, tools=tuple(tools))
        try:
            model, key, raw, cached = self._recorded_or_asked(chain, question)
        except ReplyDropped as problem:
            if problem.reason == NOT_RECORDED:
                raise
            return self._without_calls(question, chain[0], problem.reason)
        except Unreachable:
            if len(chain) == len(every):
                raise
            return self._without_calls(question, chain[0], "no answer")  # the plain question goes to the whole chain
        value, verdict = None, "ok"
        if not raw.calls:
            try:
                value = parse_reply(raw.text, reply, raw.cut, raw.flaw)
            except ReplyDropped as problem:
                verdict = "ok" if problem.reason == "malformed reply" else problem.reason  # words, no broken reply
        self._log.exchange(question, model, key, raw, verdict, cached=cached)
        return Turn(raw.text, raw.calls, value)

    def _without_calls(self, question: Question, model: Model, reason: str) -> Turn[Reply]:
        """A turn that came to nothing, kept so that a replay goes on as the run did."""
        self._chain.keep(question, model, RawReply("", 0, 0, 0.0, flaw=reason))
        return Turn("", (), None)

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

    def _recorded_or_asked(self, chain: list[Model], question: Question) -> tuple[Model, str, RawReply, bool]:
        """As `_reply`; what a recording lacks is dropped where the configuration says so."""
        try:
            return self._reply(chain, question)
        except NotRecorded as lacking:
            if self.config.missing == "stop":
                raise
            raise ReplyDropped(NOT_RECORDED, lacking.found or lacking.problem) from None

    def _reply(self, chain: list[Model], question: Question) -> tuple[Model, str, RawReply, bool]:
        """A raw reply from the cache or from the first model of the chain that gives one; whose, its key, cached."""
        keyed = [
            (model, cache_key(model.request(question.messages, question.schema, question.attempt, question.tools)))
            for model in chain
        ]
        first, key = keyed[0]
        with self._flight.turn(key, question.stop):  # the other threads find the answer in the cache
            if (found := self._cached(keyed)) is not None:
                return found
            if self._replay:
                raise not_recorded(first, key, self._cache.place, f"{question.agent} on {question.segment}")
            self._availability.check(chain)
            with self._flight.claim(key, question.stop):  # and so do other processes
                if (found := self._cached(keyed)) is not None:
                    return found
                model, key, raw = self._chain.ask(question, keyed)
                return model, key, raw, model.llm.recorded

    def _cached(self, keyed: list[tuple[Model, str]]) -> tuple[Model, str, RawReply, bool] | None:
        for model, key in keyed:
            if (found := self._cache.get(key)) is not None:
                model.answered = True
                return model, key, found, True
        return None

    def _count_unseen(self) -> None:
        if unseen := self._log.count_unseen():
            self._emit(Warned(f"{counted(unseen, 'call')} under way when this run ended before: counted as paid for"))
