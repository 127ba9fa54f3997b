"""As much of S3 as the artifact store speaks, on a loopback port."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class FakeS3(ThreadingHTTPServer):
    """Keeps objects by path. With `broken` set it answers 503 to everything."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.writes = 0
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeS3

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        if self.server.broken:
            self._answer(503)
            return
        self.server.objects[self.path] = data
        self.server.writes += 1
        self._answer(200)

    def do_GET(self) -> None:
        data = self.server.objects.get(self.path)
        if self.server.broken or data is None:
            self._answer(503 if self.server.broken else 404)
        else:
            self._answer(200, data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, data: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    """Serve until the end of the block."""
    with FakeS3() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
