"""Importing libraries without what they would take along and we never use: 11 MB of every process.

Each of them tries to import it and does without it; whoever needs it can still import it.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Final

LEFT_OUT: Final = {
    "redis": ("cryptography",),  # for OCSP
    "jose.jwt": (
        "cryptography",
        "rsa",
    ),  # for algorithms that tokens.py refuses; HS256 is Python's own hmac
    "httpx": ("pygments", "rich"),  # for its command line
    "structlog": ("rich",),  # for tracebacks that we render plainly
}
"""Libraries, each with what it is not to find while it is imported."""


@contextmanager
def hidden(packages: Sequence[str]) -> Iterator[None]:
    """Make packages that are not loaded yet look as if they were not installed."""
    names = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None is Python's own sign for that
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


class _LeanLoader(Loader):
    """Loads a library as another loader does, while something is hidden from it."""

    def __init__(self, loader: Loader, left_out: Sequence[str]) -> None:
        self._loader = loader
        self._left_out = left_out

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with hidden(self._left_out):
            self._loader.exec_module(module)

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)


class _LeanFinder(MetaPathFinder):
    """Finds the libraries that are to be loaded lean."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in LEFT_OUT:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LeanLoader(spec.loader, LEFT_OUT[name])
        return spec


def import_lean() -> None:
    """Load these libraries lean from now on, unless they are loaded already."""
    if not any(isinstance(finder, _LeanFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LeanFinder())
