"""What keeps the platform from starting is said in one sentence, before anything was started."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def refused(result: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.strip() == sentence


def test_a_port_in_use_is_named_and_nothing_was_started(run_command: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = run_command("up", DATA_DIR=str(tmp_path / "data"), PORT=str(port))

    refused(
        result,
        f"Port {port} on 127.0.0.1 is in use: stop what listens there, or set PORT to another.",
    )
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["lock"]


def test_a_host_of_another_machine_is_refused(run_command: Run, tmp_path: Path, port: int) -> None:
    result = run_command(
        "up", DATA_DIR=str(tmp_path / "data"), PORT=str(port), HOST="host.invalid."
    )

    assert result.returncode == 1
    assert result.stderr.startswith("HOST=host.invalid. is no address of this machine (")
    assert result.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named(
    run_command: Run, tmp_path: Path, port: int
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"

    result = run_command("up", DATA_DIR=str(folder), PORT=str(port))

    refused(
        result,
        f"DATA_DIR={folder} cannot be written (Not a directory): set DATA_DIR to a folder of yours.",
    )


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("DATABASE_URL", "postgresql://user:secret@127.0.0.1:{port}/automateos"),
        ("REDIS_URL", "redis://:secret@127.0.0.1:{port}/0"),
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(
    run_command: Run, tmp_path: Path, port: int, setting: str, url: str
) -> None:
    result = run_command(
        "up", DATA_DIR=str(tmp_path / "data"), PORT=str(port), **{setting: url.format(port=port)}
    )

    refused(
        result,
        f"{setting}: no server answers at 127.0.0.1:{port}"
        " (Connection refused): start it, correct the address, "
        "or unset it to use the embedded one.",
    )


def test_a_database_of_another_kind_is_refused(run_command: Run, tmp_path: Path, port: int) -> None:
    result = run_command(
        "up", DATA_DIR=str(tmp_path), PORT=str(port), DATABASE_URL="mysql://127.0.0.1/automateos"
    )

    refused(
        result,
        "DATABASE_URL must start with postgresql:// or postgresql+psycopg2:// or sqlite:///.",
    )


def test_settings_that_do_not_hold_are_named(run_command: Run) -> None:
    result = run_command("up", PORT="none")

    assert result.returncode == 1
    assert result.stderr.startswith("The settings do not hold: PORT:")


def test_what_only_the_workers_would_stumble_over_is_refused_at_once(
    run_command: Run, tmp_path: Path, port: int
) -> None:
    place = {"DATA_DIR": str(tmp_path / "data"), "PORT": str(port)}

    egress = run_command("up", **place, EGRESS_ALLOW="10.0.0.0/99")
    plugins = run_command("up", **place, PLUGINS_DIR=str(tmp_path / "none"))
    proxies = run_command("up", **place, TRUSTED_PROXIES="10.0.0.1,proxy")

    for result, named in ((egress, "10.0.0.0/99"), (plugins, "PLUGINS_DIR"), (proxies, "'proxy'")):
        assert (result.returncode, result.stdout) == (1, "")
        assert named in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_help_shows_every_command_in_no_time_and_a_typing_error_the_nearest(
    run_command: Run,
) -> None:
    shown = run_command("--help")
    mistyped = run_command("tset")

    assert shown.returncode == 0
    assert all(name in shown.stdout for name in ("up", "test"))
    assert mistyped.returncode == 2
    assert "Did you mean 'test'?" in mistyped.stderr
