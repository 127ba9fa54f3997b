"""The processes leave out what the libraries would take along; it stays there for whoever asks for it."""

import subprocess
import sys

from app.bootstrap import ROOT

LEFT_OUT = ("cryptography", "rich", "pygments", "jsonschema", "sqlite3", "re2", "pydantic.v1")


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_api_loads_nothing_that_it_never_uses() -> None:
    found = run(
        "import sys, app.api.application; "
        f"print([name for name in {LEFT_OUT} if name in sys.modules])"
    )

    assert found == "[]"


def test_what_was_left_out_can_be_imported_afterwards() -> None:
    found = run(
        "import app.api.application, cryptography.fernet, rich.console, pydantic.v1; "
        "print(cryptography.fernet.__name__, rich.console.__name__, pydantic.v1.__name__)"
    )

    assert found == "cryptography.fernet rich.console pydantic.v1"


def test_tokens_are_signed_by_the_hmac_of_python() -> None:
    found = run(
        "import app.core.security.tokens; from jose.backends import HMACKey; print(HMACKey.__module__)"
    )

    assert found == "jose.backends.native"
