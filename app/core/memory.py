"""The garbage collector's settings for processes that serve for a long time."""

import ctypes
import gc
import typing

YOUNG_OBJECTS = 10_000
"""How many new containers call for a collection; Python's own 700 would look through them thousands of times a second."""


def spare_startup_heap() -> None:
    """Exempt everything that lives now from garbage collection, and collect from now on; call it once, at the end of the start.

    Modules, models and routes live as long as the process. Looking through them again and again took a tenth of the time
    under load (measured with py-spy, which shows collections at innocent lines that allocate). What little garbage imports
    leave (2,000 objects) stays: to look for it takes longer than a tenth of the start.
    """
    typing.clear_overloads()  # a megabyte of signatures that only type checkers read
    gc.freeze()
    gc.enable()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    _give_back()


def _give_back() -> None:
    """Give the memory back that only the start has needed; glibc alone keeps it, and has a function for that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
