"""Conformance kit for LLM plugins: `check_llm(plugin)` says what the contract's promises are worth.

For plugin authors: run it in a test of yours, with a server or a stand-in that answers, and assert `report.ok`. Two
short questions are asked (some 200 tokens). Where `check` says that the model cannot be reached, what needs an answer
is `skipped`: that is a matter of the machine, not of the plugin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

from ultra_agents.contracts.llm import LLM, LLMOptions, Structured, bound
from ultra_agents.errors import LLMError
from ultra_agents.testing._report import Broken, Report, Row, Skip, require, run_check

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reasoning": {"type": "string", "maxLength": 200},
        "answer": {"type": "string", "enum": ["yes", "no"]},
    },
    "required": ["reasoning", "answer"],
    "additionalProperties": False,
}
"""What the structured question asks for: rationale before decision, as the agents' replies have it."""
QUESTION = "Is seven a prime number? Give a reason of at most ten words, then the answer."
INTERNAL = {"model", "timeout_s", "structured"}


def check_llm(llm: LLM) -> Report:
    """Check a plugin against the contract.

    Args:
        llm: The plugin, with the options it is to be checked with; opened and closed here.

    Returns:
        One row per check; nothing a plugin raises gets out.
    """
    rows = [run_check(name, partial(check, llm), do) for name, (check, do) in _QUIET.items()]
    unreachable = _reached(llm, rows)
    chat: list[Any] = []
    try:
        for name, (asking, do) in _ASKING.items():
            rows.append(run_check(name, partial(_unless, unreachable, asking, llm, chat), do))
    finally:
        rows.append(run_check("close", partial(_close, llm), "release what open() took, and let close() pass twice"))
    return Report(f"{type(llm).__name__} {llm.model_name}".strip(), tuple(rows))


# -- checks that ask nothing -----------------------------------------------------------------------------------


def _options(llm: LLM) -> str:
    options = type(llm).Options
    require(issubclass(options, LLMOptions), f"Options is {options}, not a subclass of contracts.LLMOptions")
    require(options.model_config.get("extra") == "forbid", "Options let unknown keys pass")
    bare = [name for name, field in options.model_fields.items() if not field.description]
    require(not bare, f"options without a description: {', '.join(bare)}")
    schema = options.model_json_schema()
    json.dumps(schema)
    secret = [name for name in schema["properties"] if name in ("key", "api_key", "token", "password", "secret")]
    require(
        not secret,
        f"options.{secret[0] if secret else ''} would put a key into configuration files",
        "read the key from the environment; let an option name the variable (api_key_env)",
    )
    return f"{len(schema['properties'])} options"


def _identity(llm: LLM) -> str:
    require(isinstance(llm.model_name, str) and llm.model_name.strip(), "model_name is empty")
    require(isinstance(llm.base_url, str), f"base_url is {llm.base_url!r}, not text")
    way = llm.way
    require(way in get_args(Structured), f"structured is {way!r}, not one of {', '.join(get_args(Structured))}")
    sampling = json.loads(json.dumps(llm.sampling, allow_nan=False))
    require(isinstance(sampling, dict), f"sampling is {sampling!r}, not a mapping")
    known = INTERNAL & set(sampling)
    require(not known, f"sampling holds {', '.join(sorted(known))}, which cannot change a reply")
    return f"{llm.model_name}, structured by {way}"


def _secrets(llm: LLM) -> str:
    values = [secret.get_secret_value() for secret in llm.secrets]
    require(all(isinstance(value, str) for value in values), "secrets holds something else than SecretStr")
    places = {
        "repr of the plugin": repr(llm), "repr of the options": repr(llm.options), "base_url": llm.base_url,
        "model_name": llm.model_name, "sampling": json.dumps(llm.sampling),
    }  # fmt: skip
    for place, text in places.items():
        require(not any(value and value in text for value in values), f"a key is readable in the {place}")
    if not values:
        raise Skip("no key in use", "list keys in `secrets`, so that they are redacted in everything written")
    return f"{len(values)} in use, not readable"


def _reached(llm: LLM, rows: list[Row]) -> Skip | None:
    """Ask the plugin itself whether its model is there; why not, if it is not."""
    do = "raise LLMError with what is missing, nothing else; or pass"
    try:
        llm.check()
    except LLMError as error:
        told = f"{error.problem} ({error.found})" if error.found else error.problem
        rows.append(Row("check", "skipped", f"not ready: {told}", error.hint or ""))
        return Skip("the model cannot be reached")
    except Exception as error:
        rows.append(Row("check", "failed", f"raised {type(error).__name__}: {error}", do))
        return None
    rows.append(Row("check", "pass", "ready"))
    return None


# -- checks that ask -------------------------------------------------------------------------------------------


def _unless(skip: Skip | None, asking: Callable[[LLM, list[Any]], str], llm: LLM, chat: list[Any]) -> str:
    if skip is not None:
        raise Skip(str(skip), skip.do)
    return asking(llm, chat)


def _open(llm: LLM, chat: list[Any]) -> str:
    from langchain_core.language_models import BaseChatModel

    made = llm.open()
    require(isinstance(made, BaseChatModel), f"open() gives a {type(made).__name__}, not a langchain BaseChatModel")
    text = repr(made)
    leaked = any(value and value in text for value in (secret.get_secret_value() for secret in llm.secrets))
    require(not leaked, "a key is readable in the repr of the chat model", "hand keys over as pydantic SecretStr")
    chat.append(made)
    return type(made).__name__


def _answers(llm: LLM, chat: list[Any]) -> str:
    answer = _opened(chat).invoke([("system", "Answer briefly."), ("user", "Say hello.")])
    text = _text(answer)
    require(text.strip(), f"the answer to a greeting is {text!r}")
    return repr(text[:60])


def _tokens(llm: LLM, chat: list[Any]) -> str:
    usage = getattr(_opened(chat).invoke([("user", "Say hello once more.")]), "usage_metadata", None)
    if not usage:
        raise Skip("no usage_metadata: tokens are estimated", "set AIMessage.usage_metadata, so that caps are exact")
    counted = [usage.get(key) for key in ("input_tokens", "output_tokens")]
    require(all(isinstance(n, int) and n > 0 for n in counted), f"usage_metadata counts {counted}")
    return f"{counted[0]} in, {counted[1]} out"


def _structured(llm: LLM, chat: list[Any]) -> str:
    way = llm.way
    question = QUESTION
    if way in ("text", "json_object"):
        question += (
            f"\n\nReply with one JSON object that follows this JSON schema, and nothing else:\n{json.dumps(SCHEMA)}"
        )
    answer = bound(_opened(chat), SCHEMA, way).invoke([("user", question)])
    parsed = answer.get("parsed") if isinstance(answer, dict) else None
    if parsed is None:
        text = _text(answer["raw"] if isinstance(answer, dict) else answer)
        parsed = _json_object(text)
    require(
        set(parsed) == {"reasoning", "answer"} and parsed["answer"] in ("yes", "no"),
        f"structured by {way}: the reply is {str(parsed)[:200]}",
    )
    return f"by {way}: {parsed['answer']}"


def _opened(chat: Sequence[Any]) -> Any:
    if not chat:
        raise Skip("there is no chat model to ask")
    return chat[-1]


def _text(answer: Any) -> str:
    content = getattr(answer, "content", None)
    if content is None:
        raise Broken(f"the answer is a {type(answer).__name__}, not a langchain message")
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in content)


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except ValueError:
        raise Broken(f"there is no JSON object in the reply {text[:200]!r}") from None
    assert isinstance(found, dict)
    return found


def _close(llm: LLM) -> str:
    llm.close()
    llm.close()
    return "twice without complaint"


_QUIET: dict[str, tuple[Callable[[LLM], str], str]] = {
    "options": (_options, "derive Options from ultra_agents.contracts.LLMOptions and describe every field"),
    "identity": (
        _identity,
        "model_name, base_url and sampling make the cache key: two texts and a mapping of JSON types",
    ),
    "secrets": (_secrets, "keep keys out of every text; read them from the environment"),
}
_ASKING: dict[str, tuple[Callable[[LLM, list[Any]], str], str]] = {
    "open": (_open, "return a langchain BaseChatModel"),
    "answers": (_answers, "invoke() must return a message with text"),
    "tokens": (_tokens, "set usage_metadata(input_tokens=..., output_tokens=..., total_tokens=...) on the AIMessage"),
    "structured": (
        _structured,
        "choose another way in `structured` (options.structured=text works everywhere), or a model that follows it",
    ),
}
