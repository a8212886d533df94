"""Any other chat model langchain has a package for: Anthropic, Gemini, Mistral, Groq, Bedrock, ..."""

from __future__ import annotations

import importlib
import os
import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from ultra_agents.contracts.llm import LLM, LLMOptions, Structured
from ultra_agents.errors import ConfigError, LLMError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


_SECRET = re.compile(r"api_?key|secret|password|credential|token$", re.IGNORECASE)


class LangchainOptions(LLMOptions):
    """Options of a langchain chat model."""

    model: str = Field(min_length=1, description="the model, as the provider names it")
    chat_model: str = Field(
        pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$",
        description='package and class ("langchain_anthropic.ChatAnthropic")',
    )
    api_key_env: str | None = Field(None, description="environment variable with the key; default: the package's own")
    arguments: dict[str, Any] = Field(default_factory=dict, description="further arguments of the class, no keys")

    @field_validator("arguments")
    @classmethod
    def _no_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if _SECRET.search(name):
                raise ConfigError(  # not a ValueError: pydantic would repeat the value
                    f"options.arguments holds {name!r}, which looks like a secret",
                    expected="secrets in the environment only",
                    hint="export it and name the variable in options.api_key_env",
                )
        return value


class Langchain(LLM):
    """A chat model class by name. The package must be installed; it reads its key from the environment."""

    Options: ClassVar[type[LLMOptions]] = LangchainOptions
    structured: ClassVar[Structured] = "tools"
    options: LangchainOptions

    def open(self) -> BaseChatModel:
        """Build the class with model, temperature, max_tokens and timeout, as langchain's packages name them."""
        cls = self._class()
        arguments: dict[str, Any] = {
            "model": self.options.model,
            "temperature": self.options.temperature,
            "max_tokens": self.options.max_tokens,
            "timeout": self.options.timeout_s,
            "max_retries": 0,
            **self.options.arguments,
        }
        secrets = self.secrets
        if self.options.api_key_env is not None:
            if not secrets:
                raise LLMError(
                    f"no key for {self.options.chat_model}",
                    found=f"the environment variable {self.options.api_key_env} is not set",
                    hint=f"export {self.options.api_key_env}=...",
                )
            arguments["api_key"] = secrets[0]
        try:
            return cls(**arguments)  # type: ignore[no-any-return]
        except Exception as error:
            text = " ".join(str(error).split())[:400]
            for secret in secrets:
                text = text.replace(secret.get_secret_value(), "[secret]")
            raise LLMError(
                f"{self.options.chat_model} cannot be built",
                found=f"{type(error).__name__}: {text}",
                hint="check options.arguments, and the key's environment variable named by the package",
            ) from None

    def check(self) -> None:
        """Can the class be imported?"""
        self._class()

    def _class(self) -> Any:
        package, _, name = self.options.chat_model.rpartition(".")
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise LLMError(
                f"the package {package} is not installed",
                found=str(error),
                hint=f"pip install {package.partition('.')[0].replace('_', '-')}",
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
        """The key, where its variable is named and set."""
        value = os.environ.get(self.options.api_key_env or "", "").strip()
        return (SecretStr(value),) if value else ()

    @property
    def sampling(self) -> dict[str, Any]:
        """What can change a reply."""
        return self.options.model_dump(mode="json", include={"temperature", "max_tokens", "arguments"})
