"""Ids: UUIDv7 as canonical text, so that they sort by time (RFC 9562, section 5.7)."""

import os
import re
import time
import uuid
from datetime import datetime
from typing import Final

_CANONICAL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a fresh UUIDv7 as 36 characters of text."""
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (noise >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | (noise & 0x3FFF_FFFF_FFFF_FFFF)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def first_id_at(time: datetime) -> str:
    """Return an id that sorts before all that are made from that time on."""
    text = f"{int(time.timestamp() * 1000):012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"


def time_of(id_: str) -> float:
    """Return when an id was made, in seconds of Unix time."""
    return int(id_[:8] + id_[9:13], 16) / 1000


def parse_id(text: str) -> str | None:
    """Return the canonical text of an id, or None when it is none."""
    if len(text) != 36:
        return None
    if _CANONICAL.fullmatch(text):
        return text
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
