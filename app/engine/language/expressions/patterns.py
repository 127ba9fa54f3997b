"""Users' regular expressions: RE2 alone, with bounds on the pattern, its memory and its work on a text.

RE2 is linear in the text, but when its automaton outgrows its memory each character costs the size of the program:
measured, 6 ns for each instruction and byte. So the product of the two is bounded, which ends the worst case in 50 ms.
"""

from typing import Any

from app.engine.language.expressions.budget import Budget
from app.engine.language.expressions.faults import InvalidValue, LimitExceeded
from app.engine.language.linear_patterns import re2

MAX_PATTERN = 1_000
MAX_MEMORY = 1 << 18  # the re2 module keeps 128 patterns of its own accord: 32 MiB at worst
MAX_WORK = 8_000_000
CACHED_PATTERNS = 32
COMPILE_STEPS = 256

_compiled: dict[str, Any] = {}


def compiled(pattern: str, budget: Budget) -> Any:
    """Return the compiled pattern; the few used last are kept.

    Raises:
        InvalidValue: when RE2 does not take it.
        LimitExceeded: when it is too long.
    """
    known = _compiled.get(pattern)
    if known is not None:
        return known
    budget.spend(COMPILE_STEPS)
    regex = _compile(pattern)
    if len(_compiled) >= CACHED_PATTERNS:
        _compiled.clear()
    _compiled[pattern] = regex
    return regex


def matches(text: str, pattern: str, budget: Budget) -> bool:
    """Tell whether the pattern is found anywhere in the text; `^` and `$` anchor it.

    Raises:
        InvalidValue: when RE2 does not take the pattern, or the text is not valid Unicode.
        LimitExceeded: when pattern and text are too large for each other.
    """
    regex = compiled(pattern, budget)
    budget.scan(text)
    encoded = _encoded(text)
    if regex.programsize * len(encoded) > MAX_WORK:
        raise LimitExceeded(
            f"matches() has too much to do: this pattern takes texts of up to {MAX_WORK // regex.programsize:,} bytes."
        )
    return regex.search(encoded) is not None


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("matches() got text with half of a surrogate pair.") from None


def _compile(pattern: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        raise LimitExceeded(f"A pattern may have {MAX_PATTERN:,} characters: shorten it.")
    library = re2()
    options = library.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        return library.compile(pattern, options)
    except (library.error, UnicodeEncodeError):
        raise InvalidValue(
            "matches() cannot use this pattern: it takes RE2 syntax, without look-around and back-references."
        ) from None
