"""Passwords, hashed with argon2id through passlib. Parameters: OWASP's least for argon2id."""

import threading
import warnings
from typing import Final

with warnings.catch_warnings():
    # passlib 1.7.4 asks argon2-cffi for its version, and Python for `crypt`, in ways that both have deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from passlib.hash import argon2

    argon2.set_backend("argon2_cffi")

MIN_PASSWORD_CHARACTERS: Final = 8
MAX_PASSWORD_CHARACTERS: Final = 1024
MAX_AT_ONCE: Final = 4

_HASHER = argon2.using(  # type: ignore[no-untyped-call]
    type="ID", memory_cost=19456, time_cost=2, parallelism=1
)
_SLOTS = threading.BoundedSemaphore(MAX_AT_ONCE)
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$hlDKOWfM2fsfg5BSau0dww$mdCT2JyiHcl78UQDlVpy7dHjo9bRmJQME/ScPah4np4"


def hash_password(password: str) -> str:
    """Return the hash to store; takes about 20 ms and 19 MB, so few run at once."""
    with _SLOTS:
        return str(_HASHER.hash(password))


def verify_password(password: str, stored: str | None) -> bool:
    """Tell whether a password fits; with no stored hash (unknown user, or none set) it takes as long and says no."""
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        password, stored = "", None
    with _SLOTS:
        fits = bool(_HASHER.verify(password, stored or _NOBODY))
    return fits and bool(stored)
