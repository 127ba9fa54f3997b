"""Anchors: a file outside the database that tells where the chain ended, so that a tail that is cut off shows.

One JSON object a line: `{"seq": 7, "hash": "…", "at": "2026-11-21T20:00:00Z"}`, by order of `seq`.
"""

import fcntl
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from app.core.config import Settings
from app.engine.audit.chain import Anchor

FILE: Final = "audit-anchors.jsonl"
TAIL_BYTES: Final = 4096


class AnchorFile:
    """The file of anchors; every process of the machine may write it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[Anchor]:
        """Yield the anchors that were there when this was called, oldest first."""
        if not self.path.exists():
            return iter(())
        return self._read(self.path.stat().st_size)

    def last(self) -> Anchor | None:
        """Return the newest anchor."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            return _last(file.fileno())

    def add(self, anchor: Anchor) -> bool:
        """Add an anchor, unless one that is as new is there already; tells whether it was added."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            last = _last(descriptor)
            if last is not None and last.seq >= anchor.seq:
                return False
            line = orjson.dumps(anchor, option=orjson.OPT_UTC_Z) + b"\n"
            os.write(descriptor, line if _ends_with_a_line(descriptor) else b"\n" + line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def _read(self, size: int) -> Iterator[Anchor]:
        seq = 0
        with self.path.open("rb") as file:
            for line in file:
                size -= len(line)
                anchor = _anchor(line)
                # A line that a crash has cut short, or that is older than the one before, vouches for nothing.
                if size >= 0 and anchor is not None and anchor.seq > seq:
                    seq = anchor.seq
                    yield anchor


def anchor_file(settings: Settings) -> AnchorFile:
    """Return the file of the settings."""
    return AnchorFile(settings.audit_anchor or settings.data_dir / FILE)


def _last(descriptor: int) -> Anchor | None:
    size = os.fstat(descriptor).st_size
    lines = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES)).splitlines()
    return next((found for line in reversed(lines) if (found := _anchor(line))), None)


def _ends_with_a_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _anchor(line: bytes) -> Anchor | None:
    try:
        told = orjson.loads(line)
        return Anchor(int(told["seq"]), str(told["hash"]), datetime.fromisoformat(told["at"]))
    except (ValueError, KeyError, TypeError):
        return None
