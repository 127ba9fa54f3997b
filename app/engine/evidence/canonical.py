"""Canonical JSON: equal values have equal bytes, and so equal hashes.

It is what Python's own `json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))` writes, in UTF-8: it
must not change for as long as evidence is kept, and faster writers have changed how they write numbers.
"""

import hashlib
import json
from typing import Any

import orjson


def canonical(value: Any) -> bytes:
    """Return a value as canonical JSON; times become RFC 3339 texts in UTC.

    Raises:
        orjson.JSONEncodeError: it is no JSON, or nested too deep.
    """
    plain = orjson.loads(orjson.dumps(value, option=orjson.OPT_UTC_Z))
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
