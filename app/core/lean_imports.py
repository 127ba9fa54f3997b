"""Importing libraries without what they would take along and we never use: 13 MB of every process.

Each of them tries to import it and does without it; whoever else needs it imports it as ever.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Final

LEFT_OUT: Final[Mapping[str, Sequence[str]]] = {
    "redis": ["cryptography"],  # for OCSP
    "jose": ["cryptography", "rsa"],  # for algorithms that tokens.py refuses
    "httpx": ["pygments", "rich"],  # for its command line
    "structlog": ["rich"],  # for tracebacks that we render plainly
    "fastapi": ["pydantic.v1"],  # to refuse its models, which nobody here makes
}
"""Libraries, each with what it is not to find."""
_WANTED: Final = frozenset(name for names in LEFT_OUT.values() for name in names)
MACHINERY: Final = "importlib"


class _LeanFinder(MetaPathFinder):
    """Finds nothing, and says to these libraries that what they are to do without is not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if name in _WANTED and name in LEFT_OUT.get(_importer(sys._getframe(1)), ()):  # noqa: SLF001 - Python does not tell a finder who imports
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def _importer(frame: FrameType | None) -> str:
    """Return the package of the import statement that runs at this moment."""
    package = MACHINERY
    while package == MACHINERY and frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        frame = frame.f_back
    return package


def import_lean() -> None:
    """Load these libraries lean from now on, unless they are loaded already."""
    if not any(isinstance(finder, _LeanFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LeanFinder())
