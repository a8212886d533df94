"""Keys: read from the environment or a file, checked, refused in configurations, redacted in what is written down."""

from __future__ import annotations

import base64
import math
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ultra_agents.errors import ConfigError, LLMError, UltraError

REDACTED = "[secret]"
MIN_SECRET_CHARS = 12
"""Shorter keys are none: they stand for one at servers that ask for none, and occur in ordinary text."""
MIN_SECRET_BITS = 28.0
"""Shannon entropy in bits of a whole key below which it is none (`xxxxxxxxxxxx`)."""
_PLACEHOLDERS = frozenset(
    {"sk-no-key-required", "no-key-required", "not-required", "your-api-key", "your_api_key", "lm-studio",
     "placeholder", "not-needed-here", "anything-goes", "sk-placeholder", "sk-dummy-key", "dummy-api-key"}
)  # fmt: skip
_NAME = re.compile(
    r"api.?key|access.?key|private.?key|subscription.?key|secret|passw|credential|token$|authorization|bearer|cookie"
    r"|^(x-)?auth$|^key$|^sig$|^code$",
    re.IGNORECASE,
)
_PREFIXED = re.compile(
    r"(?:sk|pk|rk|gsk|hf|ghp|gho|ghs|github_pat|glpat|xai|nvapi|pplx|r8|csk|tgp_v1|fw|AIza|ya29|AKIA|ASIA|eyJ)"
    r"[-_.]?[A-Za-z0-9_\-]{12,}"
)
_SCHEME = re.compile(r"(?:bearer|basic|token)\s+\S{8,}", re.IGNORECASE)
_RUN = re.compile(r"[A-Za-z0-9]{20,}")
_IDENTIFIER = re.compile(
    r"(^|[_-])(ids?|names?|model|deployment|endpoint|project|version|path|file|user)$", re.IGNORECASE
)
"""Names of what may look random without being secret."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HINT = "export it and name the variable in options.api_key_env, or the file in options.api_key_file"


def is_secret(key: str) -> bool:
    """Whether a key in use is worth hiding: long and mixed enough, and no placeholder of a server without keys."""
    if len(key) < MIN_SECRET_CHARS or key.lower() in _PLACEHOLDERS:
        return False
    bits = -sum(count * math.log2(count / len(key)) for count in Counter(key).values())
    return bits >= MIN_SECRET_BITS


class Redactor:
    """Replaces real keys in text, in whichever spelling they stand there.

    Spellings: as it is, URL-encoded, as Python and JSON write it, and base64 (alone, or behind other bytes, as in
    `Basic` authorization). Three quarters of a key, from either end, count as the key: servers cut texts.

    Args:
        secrets: Keys in use; those that are none (`is_secret`) are passed over.
    """

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        keys = dict.fromkeys(secret.get_secret_value() for secret in secrets)
        found = {spelling for key in keys if is_secret(key) for spelling in _spellings(key)}
        self._spellings = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` without any key."""
        for spelling in self._spellings:
            size = max(MIN_SECRET_CHARS, 3 * len(spelling) // 4)
            if spelling[:size] in text or spelling[-size:] in text:
                text = _without(_without(text, spelling, size), spelling[::-1], size, backwards=True)
        return text

    def before_cut_key(self, text: str) -> str:
        """`text` without the beginning of a key that may go on in what follows."""
        for key in self._spellings:
            begun = next((size for size in range(len(key) - 1, 0, -1) if text.endswith(key[:size])), 0)
            text = text[: len(text) - begun]
        return text


def _without(text: str, spelling: str, size: int, backwards: bool = False) -> str:
    """`text` with every run that begins like `spelling` for at least `size` characters replaced."""
    text, mark = (text[::-1], REDACTED[::-1]) if backwards else (text, REDACTED)
    parts, position = [], 0
    while (start := text.find(spelling[:size], position)) >= 0:
        end = size
        while end < len(spelling) and text[start + end : start + end + 1] == spelling[end]:
            end += 1
        parts += [text[position:start], mark]
        position = start + end
    whole = "".join([*parts, text[position:]])
    return whole[::-1] if backwards else whole


def _spellings(key: str) -> Iterator[str]:
    yield key
    for quoted in (urllib.parse.quote(key, safe=""), urllib.parse.quote_plus(key)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    yield repr(key)[1:-1]
    yield repr(repr(key)[1:-1])[1:-1]
    raw = key.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(
            3
        ):  # the position modulo 3 in what was encoded; letters mixed with neighbours are left out
            encoded = encode(bytes(before) + raw).decode().rstrip("=")
            yield encoded[(0, 2, 3)[before] : len(encoded) - ((before + len(raw)) % 3 > 0)]


def checked_key(value: str, place: str) -> SecretStr:
    """`value` as a key.

    Raises:
        ultra_agents.errors.LLMError: No header can carry it: not one word of printable ASCII. It is not repeated.
    """
    value = value.strip()
    if value.isascii() and value.isprintable() and len(value.split()) == 1:
        return SecretStr(value)
    raise LLMError(
        f"{place} holds no key",
        found="several words" if len(value.split()) > 1 else "characters that are not printable ASCII",
        expected="one word of printable ASCII: the key, and nothing else",
        hint="copy the key again, without line breaks, quotes or invisible characters",
    )


def read_key(variable: str | None, file: Path | None) -> SecretStr | None:
    """A provider's key: what `file` holds where one is named, else the environment's `variable`, None if unset.

    Raises:
        ultra_agents.errors.LLMError: The file is missing, unreadable or empty, or what is there is no key.
    """
    if file is None:
        value = os.environ.get(variable or "", "").strip()
        return checked_key(value, f"the environment variable {variable}") if value else None
    path = file.expanduser()
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise LLMError(f"cannot read the key file {path}", found=said, expected="a file with the key only") from None
    if not value:
        raise LLMError(f"the key file {path} holds no key", expected="one word: the key, and nothing else")
    return checked_key(value, f"the key file {path}")


def environment_secrets() -> tuple[SecretStr, ...]:
    """What variables of the environment named like a key hold: a package may have read any of them."""
    return tuple(SecretStr(value.strip()) for name, value in os.environ.items() if _NAME.search(name))


def looks_like_key(value: str, name: str = "") -> bool:
    """Whether a text in a configuration is most likely a key: a known prefix, or a long mixed run of letters.

    Args:
        value: The text.
        name: What it is called; an identifier may be random (`endpoint_id`).
    """
    value = value.strip()
    if _SCHEME.fullmatch(value) or _PREFIXED.fullmatch(value):
        return True
    if len(value.split()) != 1 or _IDENTIFIER.search(name):
        return False
    runs = [run for run in _RUN.findall(value) if re.search(r"[0-9]", run) and re.search(r"[A-Za-z]", run)]
    return any(is_secret(run) for run in runs)


def no_secrets(values: dict[str, Any], where: str) -> dict[str, Any]:
    """`values`, unless a key is in there, however deep: the configuration is written down, secrets are not.

    For the validators of a provider's free-form options (`query`, `extra_body`, `arguments`).

    Raises:
        ultra_agents.errors.ConfigError: A name or a value looks like a secret; the message does not repeat the value.
    """
    for path, name, value in _texts(values, where):
        if _NAME.search(name) and not re.search(r"_(env|file)$", name):
            raise _secret_in(f"{where} holds {name!r}, which looks like a secret")
        parts = urllib.parse.urlsplit(value) if "://" in value else None
        if parts is not None:
            in_query = any(_NAME.search(name) or looks_like_key(said) for name, said in _query(parts.query))
            if "@" in parts.netloc or in_query or any(looks_like_key(part) for part in parts.path.split("/")):
                raise _secret_in(f"{path} is an address with something secret in it")
        elif not value.startswith(("/", "./", "~")) and looks_like_key(value, name):
            raise _secret_in(f"the value of {path} looks like a secret")
    return values


def _query(query: str) -> list[tuple[str, str]]:
    return urllib.parse.parse_qsl(query, keep_blank_values=True)


def _texts(value: Any, path: str, name: str = "") -> Iterator[tuple[str, str, str]]:
    """`(where, its name, text)` of every text within nested mappings and lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            shown = "..." if looks_like_key(str(key)) else str(key)
            yield from _texts(inner, f"{path}.{shown}", str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, path, name)
    elif isinstance(value, str) and value:
        yield path, name, value


def _secret_in(problem: str) -> ConfigError:  # not a ValueError: pydantic would repeat the value
    return ConfigError(problem, expected="secrets in the environment or in a file only", hint=_HINT)


def variable_name(value: str | None) -> str | None:
    """`value`, if it can name a variable of the environment; for the validators of `api_key_env`.

    Raises:
        ultra_agents.errors.ConfigError: It cannot, or is itself a key; the message does not repeat it.
    """
    if not isinstance(value, str) or (_VARIABLE.fullmatch(value) and not looks_like_key(value)):
        return value  # what is no text is the validator's to refuse
    raise ConfigError(
        "options.api_key_env does not name a variable of the environment",
        found="what looks like a key" if looks_like_key(value) else f"{len(value)} characters",
        expected="a name such as OPENAI_API_KEY, never the key itself",
        hint="export OPENAI_API_KEY=... and name the variable; a key that was pasted here should be replaced",
    )


def plain_address(value: str) -> str:
    """`value` without a trailing slash, if it is an http(s) address with nothing secret in it.

    For the validators of a provider's `base_url`.

    Raises:
        ValueError: No address.
        ultra_agents.errors.ConfigError: It may hold a key; the message does not repeat it.
    """
    parts = urllib.parse.urlsplit(value)
    keys_in_path = any(looks_like_key(urllib.parse.unquote(part)) for part in parts.path.split("/"))
    if "@" in parts.netloc or parts.query or parts.fragment or keys_in_path:
        raise ConfigError(
            "base_url holds more than an address",
            expected="an address without user, password, query or key",
            hint="put the key into the environment (options.api_key_env names the variable)",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address such as http://127.0.0.1:8000/v1")
    return value.rstrip("/")


def redacted(error: UltraError, redact: Callable[[str], str]) -> UltraError:
    """A copy of one of our errors with every field redacted."""

    def told(text: str | None) -> str | None:
        return None if text is None else redact(text)

    return type(error)(
        redact(error.problem), found=told(error.found), expected=told(error.expected), hint=told(error.hint)
    )
