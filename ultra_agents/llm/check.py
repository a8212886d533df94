"""What a model can do, found out by talking to it: the measurements behind `ultra llm check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from ultra_agents.config import LLMConfig
from ultra_agents.contracts.llm import Structured
from ultra_agents.errors import ConfigError, Interrupted, LLMError, PluginError
from ultra_agents.llm.budget import usage_of
from ultra_agents.llm.errors import refused
from ultra_agents.llm.failures import AskOtherwise, CallFailed, classify
from ultra_agents.llm.model import Model
from ultra_agents.llm.replies import RawReply, token_count
from ultra_agents.llm.retry import call_with_retries
from ultra_agents.llm.structured import ReplyDropped, parse_reply, reply_schema
from ultra_agents.records import Usage

Seed: TypeAlias = Literal["honoured", "not honoured", "cannot tell", "not sent"]
Stop: TypeAlias = Callable[[], bool]

ASKS = 10
_WAYS: dict[Structured, tuple[Structured, ...]] = {
    "json_schema": ("json_schema", "tools", "json_object", "text"),
    "json_object": ("json_object", "tools", "text"),
    "format": ("format", "tools", "text"),
    "tools": ("tools", "text"),
    "text": ("text",),
}
"""Ways to try, the best first, by the provider's own."""
_REFUSED = "refused: "


class Answer(BaseModel):
    """A reply of the shape agents ask for; `json_schema`, `format` and `tools` must carry its fields to the model."""

    reasoning: str = Field(max_length=160)
    action: Literal["UP", "DOWN", "STAY"]
    hold: int = Field(ge=1, le=8)


@dataclass(frozen=True)
class ModelCheck:
    """What was found out about one model.

    Attributes:
        name: Its name under `llms`.
        provider: The provider's name.
        model: The model, as the provider names it.
        address: Where it is asked.
        reachable: It answers at all.
        problem: Why it cannot be used; None where it can.
        hint: What to do about it.
        structured: The best way of sending a schema that works, None where none does.
        ways: For each way tried `ok`, or what went wrong.
        left_out: Parameters the server does not take, and is not sent.
        warnings: What else was noticed.
        asks: Structured questions put to it.
        valid: Those answered in the schema, without a repair.
        dropped: Reasons of the others, counted.
        tokens_per_s: Reply tokens per second of waiting, prompts included.
        latency_s: Median seconds of one answer.
        context_tokens: Context window in tokens, where it is known.
        seed: At temperature 1, does the same seed give the same text, and another seed another?
        price_prompt_1k: Money per 1,000 prompt tokens; None where it is not known.
        price_completion_1k: Money per 1,000 completion tokens.
        usage: What the check itself cost.
    """

    name: str
    provider: str
    model: str
    address: str = ""
    reachable: bool = False
    problem: str | None = None
    hint: str | None = None
    structured: Structured | None = None
    ways: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    asks: int = 0
    valid: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    tokens_per_s: float | None = None
    latency_s: float | None = None
    context_tokens: int | None = None
    seed: Seed | None = None
    price_prompt_1k: float | None = None
    price_completion_1k: float | None = None
    usage: Usage = field(default_factory=Usage)

    @property
    def ok(self) -> bool:
        """It can be used."""
        return self.problem is None

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON types."""
        return {"ok": self.ok, **asdict(self)}


def check_model(
    name: str,
    entry: LLMConfig,
    *,
    asks: int = ASKS,
    stop: Stop | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> ModelCheck:
    """Talk to a model and measure.

    Args:
        name: What to call it.
        entry: The entry of `llms`.
        asks: Structured questions to count valid replies of.
        stop: Polled; true ends it.
        progress: Told what is being done.

    Raises:
        ConfigError: The entry's options cannot be used; PluginError: there is no such provider.
        Interrupted: `stop` said so.
    """
    warnings: list[str] = []
    model = Model(name, entry, warn=warnings.append)
    try:
        return _Check(model, stop, progress, warnings).run(asks)
    finally:
        model.close()


class _Check:
    def __init__(self, model: Model, stop: Stop | None, progress: Callable[[str], None], warnings: list[str]) -> None:
        self.model, self.stop, self.progress, self.warnings = model, stop, progress, warnings
        self.schema = reply_schema(Answer)
        self.replies: list[RawReply] = []

    def run(self, asks: int) -> ModelCheck:
        model = self.model
        found: dict[str, Any] = {
            "name": model.name,
            "provider": model.config.provider,
            "model": model.llm.model_name,
            "address": model.llm.base_url,
        }
        try:
            self.progress("is it there?")
            model.check()
            model.open()
            found["context_tokens"] = model.llm.context_tokens
            if (prices := model.prices) is not None:
                found |= {"price_prompt_1k": prices[0] / 1000, "price_completion_1k": prices[1] / 1000}
            ways = self._ways()
            works = [way for way, said in ways.items() if said == "ok"]
            found |= {"reachable": True, "ways": ways}
            if not works:
                return self._made(found, *self._no_way(ways))
            found |= {"structured": works[0]} | self._validity(works[0], asks) | {"seed": self._seed()}
            return self._made(found, None, None)
        except CallFailed as error:
            status = error.failure.status
            told = refused(model, error.failure)
            found["reachable"] = status is not None
            problem = told.problem if error.failure.kind != "transient" else "it does not answer"
            return self._made(found, f"{problem} ({told.found})", told.hint)
        except (Interrupted, ConfigError, PluginError):
            raise
        except LLMError as error:
            detail = f" ({error.found})" if error.found else ""
            return self._made(found, model.redactor()(error.problem + detail), error.hint)

    def _made(self, found: dict[str, Any], problem: str | None, hint: str | None) -> ModelCheck:
        usage = sum((usage_of(self.model.prices, reply) for reply in self.replies), Usage())
        found |= {"left_out": self.model.left_out, "warnings": tuple(self.warnings)}
        return ModelCheck(**found, problem=problem, hint=hint, usage=usage)

    def _no_way(self, ways: Mapping[Structured, str]) -> tuple[str, str]:
        """Why no way of sending the schema worked, and what helps: refusals are told from replies that do not fit."""
        refusals = dict.fromkeys(said for said in ways.values() if said.startswith(_REFUSED))
        if len(self.replies) == 0 and refusals:
            said = "; ".join(refusals).removeprefix(_REFUSED)
            return f"the server refuses every request ({said})", f"check llms.{self.model.name}.options"
        reasons = ", ".join(dict.fromkeys(said.partition(":")[0] for said in ways.values()))
        hints = [*dict.fromkeys(self.warnings), "try a larger model, or raise options.max_tokens"]
        return f"no reply in the schema, in whatever way it was asked for ({reasons})", "; else ".join(hints)

    def _ask(self, number: int, way: Structured) -> RawReply:
        ball, paddle = 30 + 37 * number % 90, 30 + 53 * number % 90
        messages = [
            ("system", "You watch a game of Pong. Heights are counted from the top of the screen."),
            ("user", f"The ball is at height {ball}, the paddle at height {paddle}. What should the paddle do next?"),
        ]

        def call() -> RawReply:
            while True:
                try:
                    return self.model.call_in(way, messages, self.schema, "Answer", self.stop)
                except AskOtherwise:  # without a parameter that it does not take
                    continue

        reply = call_with_retries(call, retries=2, first_wait_s=1.0, stop=self.stop)
        self.replies.append(reply)
        return reply

    def _ways(self) -> dict[Structured, str]:
        """One question in each way; what cannot pass by asking otherwise is raised."""
        said: dict[Structured, str] = {}
        first = self.model.way
        for way in (first, *(other for other in _WAYS[first] if other != first)):
            self.progress(f"structured output: {way}")
            try:
                reply = self._ask(len(said), way)
                parse_reply(reply.text, Answer, reply.cut, reply.flaw)
                said[way] = "ok"
            except ReplyDropped as problem:
                said[way] = problem.reason
            except CallFailed as error:
                silent = error.failure.kind == "transient" and not self.replies
                if silent or error.failure.kind == "fatal":
                    raise
                said[way] = f"{_REFUSED}{error.failure.text}"[:300]
        return said

    def _validity(self, way: Structured, asks: int) -> dict[str, Any]:
        dropped: Counter[str] = Counter()
        replies: list[RawReply] = []
        for number in range(asks):
            self.progress(f"valid replies: {number} of {asks} asked")
            try:
                reply = self._ask(100 + number, way)
                replies.append(reply)
                parse_reply(reply.text, Answer, reply.cut, reply.flaw)
            except ReplyDropped as problem:
                dropped[problem.reason] += 1
            except CallFailed as error:
                dropped[f"failed: {error.failure.text}"[:80]] += 1
        seconds = sum(reply.seconds for reply in replies)
        tokens = sum(reply.completion_tokens for reply in replies)
        return {
            "asks": asks,
            "valid": asks - sum(dropped.values()),
            "dropped": dict(dropped),
            "tokens_per_s": tokens / seconds if seconds > 0 else None,
            "latency_s": median(reply.seconds for reply in replies) if replies else None,
        }

    def _seed(self) -> Seed:
        """Three short texts: two with one seed, one with another."""
        if "seed" not in self.model.llm.sampling or "seed" in self.model.left_out:
            return "not sent"
        self.progress("is the seed honoured?")
        try:
            one, two, other = self._text(7), self._text(7), self._text(8)
        except CallFailed:
            return "cannot tell"
        if one != two:
            return "not honoured"
        return "honoured" if one != other else "cannot tell"

    def _text(self, seed: int) -> str:
        options = {**self.model.config.options, "seed": seed, "temperature": 1.0, "max_tokens": 40}
        config = self.model.config.model_copy(update={"options": options})
        model = Model(self.model.name, config)
        for parameter in self.model.left_out:
            model.llm.leave_out(parameter)
        try:
            said = model.open().invoke("Tell the beginning of a story about a lighthouse that nobody has told before.")
        except LLMError:
            raise
        except Exception as error:
            raise CallFailed(classify(error, model.redactor())) from None
        finally:
            model.close()
        used = getattr(said, "usage_metadata", None) or {}
        tokens = token_count(used.get("input_tokens")) or 0, token_count(used.get("output_tokens")) or 0
        self.replies.append(RawReply("", *tokens, 0.0))
        return str(said.content)
