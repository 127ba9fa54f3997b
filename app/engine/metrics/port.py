"""A worker's own address for Prometheus: `GET /metrics`, and nothing else."""

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import AF_INET, AF_INET6
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from app.core.errors import ConfigurationError, NotAuthenticated
from app.engine.metrics.gate import Reader, refusal

PATH: Final = "/metrics"
REQUEST_SECONDS: Final = 5.0


class MetricsPort:
    """Serves the text from a thread of its own until it is closed."""

    def __init__(self, host: str, port: int, token: str | None, text: Callable[[], bytes]) -> None:
        handler = type("_BoundHandler", (_Handler,), {"text": staticmethod(text), "token": token})
        server = _server_of(AF_INET6 if ":" in host else AF_INET)
        try:
            self._server = server((host, port), handler)
        except OSError as error:
            raise ConfigurationError(
                f"METRICS_PORT={port} cannot be used on {host} ({error.strerror}): give each worker of a machine a port "
                "of its own, or 0 for none."
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, name="metrics-port", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _server_of(family: int) -> type[ThreadingTCPServer]:
    options = {"address_family": family, "allow_reuse_address": True, "daemon_threads": True}
    return type("_Server", (ThreadingTCPServer,), options)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    text: Callable[[], bytes]
    token: str | None

    def do_GET(self) -> None:
        """Answer."""
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, b"The numbers are at /metrics.\n")
            return
        refused = refusal(
            Reader(
                self.client_address[0],
                self.headers.get("Authorization", ""),
                self.headers.get("X-Forwarded-For"),
            ),
            self.token,
        )
        if refused is None:
            self._answer(HTTPStatus.OK, self.text(), CONTENT_TYPE_LATEST)
        else:
            unknown = isinstance(refused, NotAuthenticated)
            status = HTTPStatus.UNAUTHORIZED if unknown else HTTPStatus.FORBIDDEN
            self._answer(status, f"{refused.detail}\n".encode())

    def log_message(self, *_: object) -> None:
        """Log nothing: it is asked every few seconds."""

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
