"""Any other chat model langchain has a package for: Anthropic, Gemini, Mistral, Groq, Bedrock, ..."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from ultra_agents.contracts.llm import LLM, LLMOptions, Structured
from ultra_agents.contracts.secrets import (
    Redactor,
    checked_key,
    environment_secrets,
    no_secrets,
    read_key,
    variable_name,
)
from ultra_agents.errors import LLMError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

EXTRAS = {
    "langchain_anthropic": "anthropic",
    "langchain_google_genai": "google",
    "langchain_mistralai": "mistral",
    "langchain_groq": "groq",
    "langchain_deepseek": "deepseek",
    "langchain_aws": "aws",
}
"""Packages that are an extra of this project."""


class LangchainOptions(LLMOptions):
    """Options of a langchain chat model."""

    model: str = Field(min_length=1, description="the model, as the provider names it")
    chat_model: str = Field(
        pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$",
        description='package and class ("langchain_anthropic.ChatAnthropic")',
    )
    api_key_env: str | None = Field(None, description="environment variable with the key; default: the package's own")
    api_key_file: Path | None = Field(None, description="file that holds the key, instead of the environment")
    arguments: dict[str, Any] = Field(default_factory=dict, description="further arguments of the class, no keys")

    @field_validator("api_key_env")
    @classmethod
    def _a_variable(cls, value: str | None) -> str | None:
        return variable_name(value)

    @field_validator("arguments")
    @classmethod
    def _no_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        return no_secrets(value, "options.arguments")


class Langchain(LLM):
    """A chat model class by name. The package must be installed; it reads its key from the environment."""

    Options: ClassVar[type[LLMOptions]] = LangchainOptions
    structured: ClassVar[Structured] = "tools"
    options: LangchainOptions

    def __init__(self, options: LangchainOptions) -> None:
        super().__init__(options)
        self._chat: Any = None
        self._refused: set[str] = set()

    def open(self) -> BaseChatModel:
        """Build the class with model, temperature, max_tokens and timeout, as langchain's packages name them."""
        if self._chat is None:
            self._chat = self._build()
        return self._chat  # type: ignore[no-any-return]

    def _build(self) -> Any:
        cls = self._class()
        arguments: dict[str, Any] = {
            "model": self.options.model,
            "timeout": self.options.timeout_s,
            "max_retries": 0,
            **self._sampling(cls),
            **self.options.arguments,
        }
        key = read_key(self.options.api_key_env, self.options.api_key_file)
        if key is not None:
            arguments["api_key"] = key
        elif self.options.api_key_env is not None:
            raise LLMError(
                f"no key for {self.options.chat_model}",
                found=f"the environment variable {self.options.api_key_env} is not set",
                hint=f"export {self.options.api_key_env}=...",
            )
        try:
            return cls(**arguments)
        except Exception as error:
            redact = Redactor((*environment_secrets(), *([] if key is None else [key])))
            problem = LLMError(
                f"{self.options.chat_model} cannot be built",
                found=f"{type(error).__name__}: {redact(' '.join(str(error).split()))[:400]}",
                hint="check options.arguments, and the key's environment variable named by the package",
            )
        raise problem

    def _sampling(self, cls: Any) -> dict[str, Any]:
        """What is sent of temperature, max_tokens and seed: neither null nor refused by the server."""
        wanted = {"temperature": self.options.temperature, "max_tokens": self.options.max_tokens}
        if "seed" in cls.model_fields:
            wanted["seed"] = self.options.seed
        return {name: value for name, value in wanted.items() if value is not None and name not in self._refused}

    def leave_out(self, parameter: str) -> bool:
        """From the next `open` on, build the class without it; what `options.arguments` names is sent all the same."""
        name = "max_tokens" if parameter == "max_completion_tokens" else parameter
        if name not in ("temperature", "max_tokens", "seed") or name in {*self._refused, *self.options.arguments}:
            return False
        self._refused.add(name)
        self._chat = None
        return True

    def check(self) -> None:
        """Can the class be built, and does it have its key? Nothing is sent."""
        chat: Any = self.open()
        for name, variable in chat.lc_secrets.items():
            value = getattr(chat, name, None)
            if not isinstance(value, SecretStr):
                continue
            if not value.get_secret_value().strip():
                raise LLMError(
                    f"no key for {self.options.chat_model}",
                    found=f"the environment variable {variable} is not set",
                    hint=f"export {variable}=..., or name another variable in options.api_key_env",
                )
            checked_key(value.get_secret_value(), f"the environment variable {variable}")

    def close(self) -> None:
        """Forget the client."""
        self._chat = None

    def _class(self) -> Any:
        package, _, name = self.options.chat_model.rpartition(".")
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            top = package.partition(".")[0]
            extra = f"  (or: pip install 'ultra-agents[{EXTRAS[top]}]')" if top in EXTRAS else ""
            raise LLMError(
                f"the package {package} is not installed",
                found=str(error),
                hint=f"pip install {top.replace('_', '-')}{extra}",
            ) from None
        from langchain_core.language_models import BaseChatModel

        cls = getattr(module, name, None)
        if not (isinstance(cls, type) and issubclass(cls, BaseChatModel)):
            raise LLMError(
                f"{self.options.chat_model} is not a chat model", found=repr(cls), expected="a langchain BaseChatModel"
            )
        return cls

    @property
    def base_url(self) -> str:
        """The class: two of them may have models of one name."""
        return self.options.chat_model

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The key, where its variable or file is named, and what the built class keeps as a secret."""
        try:
            named = read_key(self.options.api_key_env, self.options.api_key_file)
        except LLMError:
            named = None
        kept = [getattr(self._chat, name, None) for name in type(self._chat).model_fields] if self._chat else []
        return tuple(secret for secret in (named, *kept) if isinstance(secret, SecretStr))

    @cached_property
    def calls_tools(self) -> bool:
        """What the package's own profile of the model says; of a model it does not know, that it does."""
        try:
            chat = self._class()(model=self.options.model, api_key="unused", **self.options.arguments)
        except Exception:  # a class that takes no key, or that looks for a server
            return True
        return bool((getattr(chat, "profile", None) or {}).get("tool_calling", True))

    @property
    def sampling(self) -> dict[str, Any]:
        """What can change a reply."""
        return self.options.model_dump(mode="json", include={"temperature", "max_tokens", "seed", "arguments"})

    @property
    def context_tokens(self) -> int | None:
        """What langchain's profile of the model says, if there is one."""
        found = self._profile.get("max_input_tokens")
        return found if isinstance(found, int) else None

    @property
    def way(self) -> Structured:
        """By tools, but in words to a model that langchain's profile says calls none."""
        if self.options.structured is None and self._profile.get("tool_calling") is False:
            return "text"
        return super().way

    @property
    def _profile(self) -> Mapping[str, Any]:
        """Langchain's profile of the model (langchain 1.1 and later); nothing where the class cannot be built."""
        try:
            found = getattr(self.open(), "profile", None)
        except LLMError:  # `check` says so
            return {}
        return found if isinstance(found, Mapping) else {}
