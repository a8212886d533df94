"""The one door to every language model: structured replies, repair, retry, fallback, cache, budget, transcript.

Flow of one question: cache of every model of the chain, then the first model that is not resting (budget held, turn
taken, retried while failures pass), the next model where one is down for good; parse, one repair ask, or a drop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.errors import ConfigError, LLMError, did_you_mean
from ultra_agents.events import AgentSpoke, Emit, Warned, ignore
from ultra_agents.llm.budget import Budget, cost_of, usage_of
from ultra_agents.llm.cache import AnswerCache, RawReply, cache_key
from ultra_agents.llm.model import Model
from ultra_agents.llm.retry import CallFailed, Failure, ask_again, check_stop
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


class Gateway:
    """Asks models; safe to use from many threads. A context manager: leaving it closes every provider.

    Args:
        llms: Models by name.
        config: How they are asked.
        folder: The run's folder, for the transcript and, by default, the cache.
        emit: Where `AgentSpoke` events go.
    """

    def __init__(
        self, llms: Mapping[str, LLMConfig], config: GatewayConfig, folder: Path, emit: Emit = ignore
    ) -> None:
        if not llms:
            raise ConfigError("no language model is configured", expected="at least one entry under llms")
        self.config = config
        self._models = {name: Model(name, entry) for name, entry in llms.items()}
        self._replay = config.mode == "replay"
        self._transcript = Transcript(folder / "transcript.jsonl")
        self._cache = AnswerCache(config.cache or folder / "llm-cache.sqlite", must_exist=self._replay)
        self._budget = Budget(config.budget, sum(self._transcript.usage().values(), Usage()))
        self._emit = emit
        self._asking: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Gateway:
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
            self._cache.close()

    def check(self, models: Sequence[str] = ()) -> None:
        """Find out, spending nothing, whether `models` (default: all) can be reached; nothing in replay.

        Raises:
            LLMError: One cannot; it is named.
        """
        for name in () if self._replay else models or tuple(self._models):
            self._model(name).llm.check()

    def context_tokens(self, model: str | None = None) -> int | None:
        """Context window in tokens of a model (default: the first), where its provider knows it."""
        return self._model(model or next(iter(self._models))).llm.context_tokens

    def model_label(self, model: str | None = None) -> str:
        """`provider:model` of an entry of `llms` (default: the first), for tables and reports."""
        entry = self._model(model or next(iter(self._models)))
        said = entry.llm.model_name
        return entry.config.provider if said in ("", entry.config.provider) else f"{entry.config.provider}:{said}"

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
    ) -> Answer[Reply]:
        """Ask until a validated `reply` is there, or give the question up.

        Args:
            agent: Who asks (`identifier`, ...).
            segment: About what.
            models: Names in `llms`, asked in turn as they fail; None, or an empty list, is the first of all.
            messages: `(role, text)`; roles are `system`, `user`, `assistant`.
            reply: What the answer must be.
            stop: Polled; true ends the asking.

        Raises:
            ReplyDropped: No usable reply, even after one repair; count the reason and go on.
            LLMError: No model of the chain can be used.
            BudgetReached: The next call could exceed a cap.
            Interrupted: `stop` said so.
        """
        chain = list(dict.fromkeys(self._model(name) for name in models or (None,)))
        asking = _Asking(agent, segment, reply_schema(reply), reply.__name__, stop)
        conversation = list(messages)
        usage = Usage()
        for attempt in (0, 1):
            model, raw, cached = self._reply(chain, conversation, attempt, asking)
            cost = Usage(cached=1) if cached else usage_of(model.config, raw)
            usage += cost
            try:
                value = parse_reply(raw.text, reply, raw.cut)
            except ReplyDropped as problem:
                self._note(model, conversation, attempt, asking, raw, cached, problem.reason)
                if attempt == 1:
                    raise
                conversation = repair_messages(conversation, raw.text, problem, asking.schema)
                chain = [model, *(other for other in chain if other is not model)]
                continue
            self._note(model, conversation, attempt, asking, raw, cached, "ok")
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

    def _reply(
        self, chain: list[Model], messages: list[tuple[str, str]], attempt: int, asking: _Asking
    ) -> tuple[Model, RawReply, bool]:
        """A raw reply from the cache or from the first model of the chain that gives one."""
        keys = [cache_key(model.request(messages, asking.schema, attempt)) for model in chain]
        with self._alone(keys[0], asking.stop):
            for model, key in zip(chain, keys, strict=True):
                if (found := self._cache.get(key)) is not None:
                    return model, found, True
            if self._replay:
                raise LLMError(
                    "replay: this question is not in the answer cache",
                    found=f"no key {keys[0]} ({asking.agent} on {asking.segment}, model {chain[0].name!r})",
                    expected=f"an answer recorded in {self._cache.path}",
                    hint="run once with gateway.mode=live; prompts, model, sampling or schema have changed",
                )
            awake = [pair for pair in zip(chain, keys, strict=True) if pair[0].rests_until <= time.monotonic()]
            candidates = awake or list(zip(chain, keys, strict=True))
            for position, (model, key) in enumerate(candidates):
                try:
                    return model, self._live(model, key, messages, attempt, asking), False
                except CallFailed as error:
                    self._give_up(model, error.failure, last=position == len(candidates) - 1)
        raise AssertionError("unreachable")

    def _give_up(self, model: Model, failure: Failure, last: bool) -> None:
        """Raise what ends the question, or put the model to rest so that the next one is asked."""
        if failure.kind == "prompt too long":
            raise ReplyDropped("prompt too long", failure.text) from None
        where = f"{model.config.provider} {model.llm.model_name!r}"
        if failure.kind != "passing":
            raise LLMError(
                f"the model {model.name!r} ({where}) refuses to answer",
                found=_status(failure),
                expected="an answer",
                hint=_hint(failure, model.name),
            ) from None
        model.rests_until = time.monotonic() + self.config.rest_s
        if last:
            raise LLMError(
                f"the model {model.name!r} ({where}) does not answer, after {self.config.retries + 1} attempts",
                found=_status(failure),
                expected="an answer",
                hint=f"check llms.{model.name} (base_url, timeout_s), raise gateway.retries, or name a fallback",
            ) from None
        self._emit(Warned(f"the model {model.name!r} does not answer ({_status(failure)}); asking the next one"))

    def _live(
        self, model: Model, key: str, messages: list[tuple[str, str]], attempt: int, asking: _Asking
    ) -> RawReply:
        prompt, completion = model.most_tokens(messages)
        money = cost_of(model.config, prompt, completion)

        def once() -> RawReply:
            with (
                model.limits.turn(prompt + completion, asking.stop),
                self._budget.hold(prompt + completion, money),
            ):
                reply = model.call(messages, asking.schema, asking.title, asking.stop)
                self._budget.add(usage_of(model.config, reply))
            self._cache.put(key, reply)
            return reply

        def failed(failure: Failure) -> None:
            lost = RawReply("", prompt if failure.charged else 0, 0, 0.0)
            if failure.charged:
                self._budget.add(usage_of(model.config, lost))
            verdict = f"failed: {_status(failure)}"
            self._note(model, messages, attempt, asking, lost, False, verdict, failure.charged)

        return ask_again(once, self.config.retries, self.config.retry_wait_s, asking.stop, failed)

    def _note(
        self,
        model: Model,
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
                "model": model.name,
                "provider": model.config.provider,
                "attempt": attempt,
                "messages": [[role, model.blot(text)] for role, text in messages],
                "reply": raw.text[:100_000],
                "prompt_tokens": raw.prompt_tokens,
                "completion_tokens": raw.completion_tokens,
                "seconds": round(raw.seconds, 4),
                "cost": 0.0 if cached or not charged else usage_of(model.config, raw).cost,
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
            )
        )

    @contextmanager
    def _alone(self, key: str, stop: Stop | None) -> Iterator[None]:
        """Let one thread at a time ask one question: the others find its answer in the cache."""
        with self._lock:
            lock, waiting = self._asking.get(key, (threading.Lock(), 0))
            self._asking[key] = (lock, waiting + 1)
        try:
            while not lock.acquire(timeout=0.1):
                check_stop(stop)
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                lock, waiting = self._asking.pop(key)
                if waiting > 1:
                    self._asking[key] = (lock, waiting - 1)


def _status(failure: Failure) -> str:
    return failure.text if failure.status is None else f"HTTP {failure.status}: {failure.text}"


def _hint(failure: Failure, name: str) -> str:
    if failure.status in (401, 403):
        return f"check the key in the environment (llms.{name}.options.api_key_env names the variable)"
    if failure.status == 404:
        return f"check llms.{name}.options.model and base_url"
    if failure.status in (402, 429):
        return "the account is out of credit; answers so far are kept"
    return f"check llms.{name}.options"
