"""The embedded servers alone, as tests and benchmarks use them."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg2
import pytest
from redis import Redis

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.db.revisions import heads
from app.embedded.data_folder import hold
from app.embedded.identity import identity_for
from app.embedded.leftovers import end_leftover
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.redis import EmbeddedRedis
from app.embedded.servers import servers_for
from app.embedded.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
FAST = {"fsync": "off"}
Remaining = Callable[[Path], Sequence[int]]

ABANDON = """
import os, sys
from pathlib import Path
from app.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"})
server.death_signal = 0  # as where the kernel knows no death signal
server.start()
os._exit(0)
"""


def ask(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def test_postgres_keeps_its_data_over_a_restart_with_the_given_options(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "a folder" / "pg", options=FAST) as server:
        ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")

        url = server.restart()

        assert ask(url, "SELECT answer, current_setting('fsync') FROM kept") == (42, "off")
        assert ask(url, "SELECT current_database(), upper('äß')") == ("automateos", "Äß")


def test_a_long_path_gets_a_short_socket_folder_that_goes_with_the_server(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / ("long" * 30) / "redis")

    with server:
        folder = server.socket_folder
        with Redis.from_url(server.url) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}

    assert folder.name.startswith("automateos-")
    assert not folder.exists()


def test_a_server_that_a_killed_parent_left_is_ended_by_the_next_start(
    tmp_path: Path, remaining: Remaining
) -> None:
    subprocess.run(
        [sys.executable, "-c", ABANDON, str(tmp_path / "pg")],
        check=True,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},  # noqa: TID251 - of a child
    )
    left = set(remaining(tmp_path))

    with EmbeddedPostgres(tmp_path / "pg", options=FAST) as server:
        answer = ask(server.url, "SELECT 1")

    assert left
    assert answer == (1,)
    assert wait_until(lambda: not remaining(tmp_path), 10)


def test_a_process_id_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n")

    end_leftover(pid_file, tmp_path, EmbeddedPostgres.ending)

    assert not pid_file.exists()


def test_postgres_starts_beside_the_lock_of_a_killed_one_whose_id_is_taken(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", options=FAST)
    server.start()
    server.stop()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        lock = server.socket_folder / f"{server.socket_name}.lock"
        lock.write_text(f"{other.pid}\n{server.data}\n0\n5432\n{server.socket_folder}\n")

        with server:
            assert ask(server.url, "SELECT 1") == (1,)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", options={"maxclients": "none"})

    with pytest.raises(ConfigurationError, match=r"redis ended \(exit code 1\): .*redis\.log\."):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_becomes_nobody_and_looks_like_it_where_only_root_may_pass(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    inside = identity_for([closed / "data"])
    outside = identity_for([Path("/tmp")])

    assert inside is not None
    assert outside is not None
    assert (inside.namespace, inside.owner) == (True, (0, os.getegid()))
    assert (outside.namespace, outside.owner) == (False, (outside.uid, outside.gid))


def test_a_command_gets_servers_for_its_own_time(tmp_path: Path, remaining: Remaining) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=f"sqlite:///{tmp_path}/file.db")

    with servers_for(settings) as resolved:
        with Redis.from_url(resolved.redis_url or "") as client:
            answer = client.ping()
        during = remaining(settings.data_dir)

    assert (answer, len(during)) == (True, 1)
    assert resolved.secret_key is not None
    assert remaining(settings.data_dir) == []


def test_a_command_beside_a_running_platform_uses_its_servers(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with hold(tmp_path) as folder:
        folder.note(database_url="postgresql://there", redis_url="unix:///there")

        with servers_for(settings) as resolved:
            urls = (resolved.database_url, resolved.redis_url)

    assert urls == ("postgresql://there", "unix:///there")


def test_the_head_of_the_migrations_is_what_none_builds_on(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('revision: str = "a1"\ndown_revision: str | None = None\n')
    (tmp_path / "two.py").write_text("revision = 'b2'\ndown_revision = 'a1'\n")

    assert heads(tmp_path) == {"b2"}
