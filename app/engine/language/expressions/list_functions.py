"""Functions on lists and maps."""

from typing import Any

from app.engine.language.expressions import arguments
from app.engine.language.expressions.budget import Frame
from app.engine.language.expressions.faults import InvalidValue, TypeMismatch
from app.engine.language.expressions.values import (
    checked,
    described,
    identity,
    kind,
    require_order,
)


def size(_frame: Frame, value: Any) -> int:
    """Return how many characters, items or keys there are."""
    if kind(value) not in {"string", "list", "map"}:
        raise TypeMismatch(
            f"size() needs a string, a list or a map, not {described(value)}: "
            "test for null first, such as `x != null && size(x) > 0`."
        )
    return len(value)


def keys(frame: Frame, value: Any) -> list[str]:
    """Return the keys of a map."""
    source = arguments.mapping(value, "keys")
    frame.allocate_list(len(source))
    return list(source)


def values(frame: Frame, value: Any) -> list[Any]:
    """Return the values of a map."""
    source = arguments.mapping(value, "values")
    frame.allocate_list(len(source))
    return list(source.values())


def merge(frame: Frame, *sources: Any) -> dict[str, Any]:
    """Return one map of several; of the same key the last one counts."""
    merged: dict[str, Any] = {}
    for source in sources:
        fields = arguments.mapping(source, "merge")
        frame.allocate_list(4 * len(fields))
        merged.update(fields)
    return merged


def total(frame: Frame, value: Any) -> int | float:
    """Return the sum of a list of numbers."""
    result: int | float = 0
    for item in arguments.items(value, "sum"):
        frame.spend(1)
        result = checked(result + arguments.number(item, "sum"))
    return result


def smallest(frame: Frame, *candidates: Any) -> Any:
    """Return the smallest of a list, or of the arguments."""
    pool = _candidates(frame, candidates, "min")
    return min(pool)


def largest(frame: Frame, *candidates: Any) -> Any:
    """Return the largest of a list, or of the arguments."""
    pool = _candidates(frame, candidates, "max")
    return max(pool)


def unique(frame: Frame, value: Any) -> list[Any]:
    """Return the list without repetitions, in the order of first appearance."""
    items = arguments.items(value, "unique")
    frame.allocate_list(4 * len(items))
    first_by_identity: dict[Any, Any] = {}
    for item in items:
        first_by_identity.setdefault(identity(item, frame), item)
    return list(first_by_identity.values())


def flatten(frame: Frame, value: Any) -> list[Any]:
    """Return the items of the lists in a list, one level up; other items stay."""
    flat: list[Any] = []
    for item in arguments.items(value, "flatten"):
        more = item if isinstance(item, list) else [item]
        frame.spend(1)
        frame.allocate_list(len(more))
        flat.extend(more)
    return flat


def first(_frame: Frame, value: Any) -> Any:
    """Return the first item, or null when there is none."""
    items = arguments.items(value, "first")
    return items[0] if items else None


def last(_frame: Frame, value: Any) -> Any:
    """Return the last item, or null when there is none."""
    items = arguments.items(value, "last")
    return items[-1] if items else None


def cut(frame: Frame, value: Any, start: Any, end: Any = None) -> Any:
    """Return the part of a list or text from `start` up to, not including, `end`; negative counts from the end."""
    whole = value if isinstance(value, str) else arguments.items(value, "slice")
    begin = arguments.whole(start, "slice")
    stop = None if end is None else arguments.whole(end, "slice")
    frame.allocate_list(len(range(len(whole))[begin:stop]))
    return whole[begin:stop]


def turned(frame: Frame, value: Any) -> list[Any]:
    """Return the list in reverse order."""
    items = arguments.items(value, "reverse")
    frame.allocate_list(len(items))
    return items[::-1]


def _candidates(frame: Frame, candidates: tuple[Any, ...], function: str) -> list[Any]:
    pool = arguments.items(candidates[0], function) if len(candidates) == 1 else list(candidates)
    if not pool:
        raise InvalidValue(f"{function}() of an empty list: test size() first.")
    for item in pool:
        frame.scan(item if isinstance(item, str) else "")
        require_order(pool[0], item, f"{function}()")
    return pool
