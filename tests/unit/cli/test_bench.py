"""`bench`: hands over to the suite, or says plainly that it is not there."""

import os
from pathlib import Path

import pytest

from app.cli import bench
from tests.unit.cli.conftest import Say


def test_an_image_without_the_benchmarks_says_so(
    cli: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "ROOT", tmp_path)

    said = cli("bench", "--quick")

    assert said.code == 1
    assert "images come without them, run this in a checkout" in said.err


def test_the_options_are_handed_to_the_suite(cli: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_over: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: handed_over.append(command))
    monkeypatch.setattr(os, "chdir", lambda _: None)

    cli("bench", "--quick", "--only", "runs", "--only", "http", "--out", "/tmp/figures")

    assert handed_over[0][1:] == [
        *("-m", "benchmarks.suite", "--quick"),
        *("--only", "runs", "--only", "http", "--out", "/tmp/figures"),
    ]
