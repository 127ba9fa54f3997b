"""The examples' local service, and a platform with a worker that may reach it."""

import threading
from collections.abc import Iterator

import pytest

from examples.echo_server import EchoServer
from tests.integration.engine.conftest import settings, worker, world

__all__ = ["database_url", "echo", "settings", "worker", "world"]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """What differs between databases is tested elsewhere."""
    return postgres_url


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """The service on a port of its own."""
    with EchoServer(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
