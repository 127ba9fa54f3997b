"""Anchors are added in order, and what was cut short by a crash does no harm."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.engine.audit.anchors import AnchorFile
from app.engine.audit.chain import Anchor

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> AnchorFile:
    return AnchorFile(tmp_path / "deep" / "anchors.jsonl")


def _anchor(seq: int) -> Anchor:
    return Anchor(seq, f"{seq:064}", NOW)


def test_what_is_added_is_read_in_order(file: AnchorFile) -> None:
    assert (file.last(), list(file.read())) == (None, [])

    added = [file.add(_anchor(seq)) for seq in (1, 7, 30)]

    assert added == [True, True, True]
    assert list(file.read()) == [_anchor(seq) for seq in (1, 7, 30)]
    assert file.last() == _anchor(30)
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_of_two_processes_with_the_same_head_one_adds_it(file: AnchorFile) -> None:
    file.add(_anchor(7))

    assert [file.add(_anchor(7)), file.add(_anchor(3))] == [False, False]
    assert list(file.read()) == [_anchor(7)]


def test_a_line_that_was_cut_short_is_passed_over(file: AnchorFile) -> None:
    file.add(_anchor(7))
    with file.path.open("ab") as raw:
        raw.write(b'{"seq": 9, "ha')

    file.add(_anchor(10))

    assert [anchor.seq for anchor in file.read()] == [7, 10]
    assert file.last() == _anchor(10)


def test_what_comes_after_the_reading_has_begun_is_not_read(file: AnchorFile) -> None:
    file.add(_anchor(7))
    reading = file.read()

    file.add(_anchor(8))

    assert [anchor.seq for anchor in reading] == [7]
