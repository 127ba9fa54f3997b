"""A whole platform, with stand-ins for API and worker, that is killed and stopped in every way."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from redis import Redis

from app.embedded.waiting import wait_until

pytestmark = pytest.mark.crash

PATIENCE_SECONDS = 30.0
Start = Callable[..., Any]
Remaining = Callable[[Path], Sequence[int]]


def execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def answers(url: str) -> bool:
    try:
        return execute(url, "SELECT 1") == [(1,)]
    except psycopg2.OperationalError:
        return False


def test_kill_9_leaves_nothing_behind_and_the_next_start_finds_the_data(
    start_platform: Start, remaining: Remaining
) -> None:
    first = start_platform("data folder").until_ready()
    execute(first.url("database_url"), "CREATE TABLE kept AS SELECT 42 AS answer")
    with Redis.from_url(first.url("redis_url")) as redis:
        redis.set("kept", "42")

    first.end(signal.SIGKILL)

    assert wait_until(lambda: not remaining(first.folder), PATIENCE_SECONDS)
    key = (first.folder / "secret_key").read_text()
    second = start_platform("data folder").until_ready()
    with Redis.from_url(second.url("redis_url")) as redis:
        assert redis.get("kept") == b"42"
    assert execute(second.url("database_url"), "SELECT answer FROM kept") == [(42,)]
    assert (second.folder / "secret_key").read_text() == key
    assert (second.folder / "secret_key").stat().st_mode & 0o777 == 0o600
    assert second.end(signal.SIGTERM) == 0
    assert remaining(second.folder) == []


def test_term_stops_the_api_before_the_workers_and_the_servers_last(
    start_platform: Start, remaining: Remaining
) -> None:
    platform = start_platform().until_ready()

    code = platform.end(signal.SIGHUP)

    assert code == 0
    assert [event for event, _, _ in platform.events()][-2:] == ["api-stopped", "worker-stopped"]
    assert remaining(platform.folder) == []


def test_a_second_ctrl_c_hastens_a_worker_that_takes_its_time(
    start_platform: Start, remaining: Remaining
) -> None:
    platform = start_platform(worker="stubborn", SHUTDOWN_SECONDS="600").until_ready()
    platform.process.send_signal(signal.SIGINT)
    assert wait_until(lambda: platform.events()[-1][0] == "ignored", PATIENCE_SECONDS)

    code = platform.end(signal.SIGINT)

    assert code == 0
    assert remaining(platform.folder) == []


def test_whatever_dies_is_started_again_and_said_in_a_line(start_platform: Start) -> None:
    platform = start_platform().until_ready()
    before = platform.pids()
    url = platform.url("database_url")
    postmaster = int((platform.folder / "postgres/data/postmaster.pid").read_text().split()[0])
    redis = int((platform.folder / "redis/redis.pid").read_text())

    for pid in (before["api"], before["worker"], postmaster, redis):
        os.kill(pid, signal.SIGKILL)

    assert wait_until(lambda: platform.pids().keys() == before.keys(), PATIENCE_SECONDS)
    assert wait_until(
        lambda: not set(platform.pids().values()) & set(before.values()), PATIENCE_SECONDS
    )
    assert wait_until(lambda: answers(url), PATIENCE_SECONDS)
    for name in ("api", "worker 1", "postgres", "redis"):
        assert platform.said().count(f"{name} ended (signal 9)") == 1
    assert platform.end(signal.SIGTERM) == 0


def test_a_second_start_on_the_same_folder_says_so_and_stops_nothing(start_platform: Start) -> None:
    first = start_platform().until_ready()

    second = start_platform()

    assert second.process.wait(PATIENCE_SECONDS) == 1
    assert second.said().strip() == (
        f"AutomateOS already runs on {first.folder} (process {first.process.pid}): "
        "stop it, or set DATA_DIR to another folder."
    )
    assert answers(first.url("database_url"))


def test_sqlite_says_what_is_missing_and_starts_no_postgres(
    start_platform: Start, tmp_path: Path
) -> None:
    platform = start_platform(DATABASE_URL=f"sqlite:///{tmp_path}/file.db").until_ready()

    assert "SQLite serves one machine" in platform.said()
    assert not (platform.folder / "postgres").exists()
    assert platform.end(signal.SIGTERM) == 0
