"""A connection to a Ray cluster (extra `ray`), and what to say where there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ultra_agents.errors import ConfigError

_HINT = "start one: ray start --head, or leave the address out to use this machine"


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected; a cluster that was started here ends here.

    Args:
        address: Of a running cluster (`auto`, `ray://head:10001`, `head:6379`); None starts one on this machine.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "engine ray needs a package that is not installed", found="no module named ray",
            hint="pip install 'ultra-agents[ray]', or use the engine local",
        ) from error  # fmt: skip
    ours = not ray.is_initialized()
    if ours:
        _answers(address)
        local: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR,
                     **({} if address else local))  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"no Ray cluster answers at {address}", found=" ".join(str(error).split())[:300], hint=_HINT
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _answers(address: str | None) -> None:
    """Find out at once whether anybody listens at `host:port`; Ray itself takes a minute and more to give up.

    Raises:
        ConfigError: Nobody does.
    """
    import socket

    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ConfigError(f"no Ray cluster answers at {address}", found=str(error), hint=_HINT) from error
