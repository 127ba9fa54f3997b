"""Mask what looks like a credential before it is stored. By name: what nobody calls a secret is not known as one.

It is on the path of every step: what holds none of the hints costs some microseconds.
"""

import re
from functools import lru_cache
from typing import Any, Final

import orjson

MASK: Final = "***"
SECRET_WORDS: Final = (
    "authorization", "cookie", "passw", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey",
    "signingkey", "encryptionkey", "signature",
)  # fmt: skip
"""A name that holds one of these, without its separators and in lower case, names a secret."""
SECRET_NAMES: Final = frozenset({"auth", "jwt", "pass", "pwd", "bearer", "sessionid"})
SECRET_PARAMETERS: Final = SECRET_NAMES | {"key", "sig"}
"""In `name=value` of an address or a form, where `key` is hardly ever anything else."""
MAX_NAME_CHARACTERS = 200
_HINTS = re.compile(rb"auth|cookie|pass|secret|token|key|sig|pwd|jwt|bearer|session|@")
_SEPARATORS = re.compile(r"[\W_]+")
# Each begins where a run of its characters begins, and never goes back: linear, whatever the text.
_PARAMETER = re.compile(r"(?<![\w.\-\[\]%])([\w.\-\[\]%]++)=([^&#;\s\"'<>]++)")
_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"'<>]*@")


def masked(encoded: bytes) -> Any:
    """Return the value of some JSON, with whatever looks like a credential replaced by `***`."""
    value = orjson.loads(encoded)
    return _masked(value) if may_hide(encoded) else value


def may_hide(encoded: bytes) -> bool:
    """Tell whether there may be a credential in some JSON."""
    return _HINTS.search(encoded.lower()) is not None


def mask_text(text: str) -> str:
    """Return a text without the credentials in its addresses and `name=value` pairs."""
    if "=" in text:
        text = _PARAMETER.sub(_mask_parameter, text)
    return _USER_INFO.sub(f"{MASK}@", text) if "@" in text else text


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return _masked_object(value) if isinstance(value, dict) else value


def _masked_object(value: dict[str, Any]) -> dict[str, Any]:
    masked = {name: MASK if _hides(name, item) else _masked(item) for name, item in value.items()}
    # Headers and variables are also written as {"name": …, "value": …}.
    label = value.get("name", value.get("key"))
    if "value" in value and isinstance(label, str) and _hides(label, value["value"]):
        masked["value"] = MASK
    return masked


def _hides(name: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    plain = _plain(name[:MAX_NAME_CHARACTERS])
    if plain.endswith("tokens") and not isinstance(value, str | list | dict):
        return False  # a number of tokens, such as a language model's `max_tokens`
    return _is_secret(plain)


def _mask_parameter(found: re.Match[str]) -> str:
    plain = _plain(found[1][:MAX_NAME_CHARACTERS])
    return f"{found[1]}={MASK}" if plain in SECRET_PARAMETERS or _is_secret(plain) else found[0]


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).lower()


@lru_cache(maxsize=4096)
def _is_secret(plain: str) -> bool:
    return plain in SECRET_NAMES or any(word in plain for word in SECRET_WORDS)
