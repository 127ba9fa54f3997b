"""A small local service for examples and manual tests: it answers any request with what it got, and counts.

    python3 examples/echo_server.py --port 9000

| path | answer |
|---|---|
| `/status/<code>` | that status |
| `/delay/<seconds>` | after a while (60 s at most) |
| `/flaky/<n>` | 503 for the first n requests of each Idempotency-Key, then 200 |
| `/__count` | how many requests came, in all, by path and by Idempotency-Key |
| `/customers/c-42`, `/stock` | data for the example workflows |
| any other | 200 |

Every other answer is `{method, path, query, headers, body}`. Steps reach it when the platform runs with
`EGRESS_ALLOW=127.0.0.0/8`.
"""

import argparse
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MAX_DELAY_SECONDS = 60.0
SAMPLES: dict[str, dict[str, Any]] = {
    "/customers/c-42": {"id": "c-42", "name": "Ada Lovelace", "tier": "gold"},
    "/stock": {
        "items": [
            {"sku": "tea", "on_hand": 3, "reorder_at": 10},
            {"sku": "coffee", "on_hand": 40, "reorder_at": 10},
            {"sku": "sugar", "on_hand": 0, "reorder_at": 5},
        ]
    },
}


class EchoServer(ThreadingHTTPServer):
    """The service, with its counts."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self._lock = threading.Lock()
        self._by_path: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()

    def count(self, path: str, key: str | None) -> int:
        """Count a request; returns how many came with its key, this one included."""
        with self._lock:
            self._by_path[path] += 1
            if key is None:
                return self._by_path[path]
            self._by_key[key] += 1
            return self._by_key[key]

    def counts(self) -> dict[str, Any]:
        """Return what was counted so far."""
        with self._lock:
            return {
                "requests": self._by_path.total(),
                "by_path": dict(self._by_path),
                "by_key": dict(self._by_key),
            }


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: EchoServer

    def handle_any(self) -> None:
        """Answer by path; the same for every method."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urlsplit(self.path)
        if url.path == "/__count":
            self._answer(200, self.server.counts())
            return
        seen = self.server.count(url.path, self.headers.get("Idempotency-Key"))
        content = SAMPLES.get(url.path) or self._echo(url.path, url.query, body)
        self._answer(self._status_for(url.path, seen), content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any  # noqa: N815 - the base class wants these names

    def log_message(self, *_: Any) -> None:
        """Keep quiet: `/__count` tells what came."""

    def _status_for(self, path: str, seen: int) -> int:
        kind, _, value = path.strip("/").partition("/")
        try:
            if kind == "status":
                return min(max(int(value), 200), 599)
            if kind == "flaky":
                return 503 if seen <= int(value) else 200
            if kind == "delay":
                threading.Event().wait(min(max(float(value), 0.0), MAX_DELAY_SECONDS))
        except ValueError:
            return 400
        return 200

    def _echo(self, path: str, query: str, body: bytes) -> dict[str, Any]:
        text = body.decode(errors="replace")
        try:
            content = json.loads(text)
        except ValueError:
            content = text or None
        return {
            "method": self.command,
            "path": path,
            "query": {
                name: values[0] if len(values) == 1 else values
                for name, values in parse_qs(query).items()
            },
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": content,
        }

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status in (204, 304):
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(
        description="Answer requests with what they hold, and count them."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    options = parser.parse_args()
    with EchoServer((options.host, options.port)) as server:
        print(f"Listening on http://{options.host}:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.")


if __name__ == "__main__":
    main()
