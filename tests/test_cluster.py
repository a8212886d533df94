"""What a person is told where there is no Ray cluster."""

from __future__ import annotations

import sys

import pytest

from ultra_agents.cluster import connected
from ultra_agents.errors import ConfigError


def test_nobody_at_the_address_is_told_at_once() -> None:
    with (
        pytest.raises(ConfigError, match=r"no Ray cluster answers at 127\.0\.0\.1:1") as caught,
        connected("127.0.0.1:1"),
    ):
        pass
    assert "ray start --head" in str(caught.value.hint)
    assert caught.value.exit_code == 2


def test_a_missing_package_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="not installed") as caught, connected(None):
        pass
    assert "ultra-agents[ray]" in str(caught.value.hint)
