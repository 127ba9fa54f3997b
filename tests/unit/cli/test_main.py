"""The command line as a whole."""

import pytest

from app.cli.main import COMMANDS
from tests.unit.cli.conftest import Say


def test_help_lists_every_command_with_its_summary(cli: Say) -> None:
    said = cli("--help")

    assert said.code == 0
    for name, (_, summary) in COMMANDS.items():
        assert name in said.out
        assert summary in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli: Say, command: str) -> None:
    said = cli(command, "--help")

    assert said.code == 0
    assert f"main.py {command}" in said.out


def test_an_unknown_command_is_refused(cli: Say) -> None:
    said = cli("fly")

    assert said.code == 2
    assert "fly" in said.err


def test_what_the_platform_refuses_is_one_sentence(
    cli: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "none")

    said = cli("node", "list")

    assert said.code == 1
    assert said.err.startswith("The settings do not hold: PORT: ")
    assert said.err.count("\n") == 1
