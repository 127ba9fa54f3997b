"""Macros: `.map(x, …)` and its kin, the only loops. Each turn costs the size of its body in steps."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from app.engine.language.expressions import arguments
from app.engine.language.expressions.access import MISSING, Link, Run
from app.engine.language.expressions.budget import BYTES_PER_STEP_SHIFT, Frame
from app.engine.language.expressions.operators import not_boolean
from app.engine.language.expressions.values import require_order


class Body(NamedTuple):
    """What is evaluated for each item: the closure, the slot of its variable, and the steps that a turn costs."""

    run: Run
    slot: int
    cost: int


def macro(name: str, body: Body, *, optional: bool) -> Link:
    """Return the link `.name(x, body)`; an optional one ends the chain at null."""
    apply = _MACROS[name]

    def follow(frame: Frame, value: Any) -> Any:
        if optional and value is None:
            return MISSING
        return apply(frame, arguments.items(value, name), body)

    return follow


def _turns(frame: Frame, items: list[Any], body: Body) -> Iterator[Any]:
    run, slot, cost = body
    variables = frame.variables
    for item in items:
        frame.spend(cost)
        variables[slot] = item
        yield run(frame)


def _map(frame: Frame, items: list[Any], body: Body) -> list[Any]:
    frame.allocate_list(len(items))
    return list(_turns(frame, items, body))


def _filter(frame: Frame, items: list[Any], body: Body) -> list[Any]:
    frame.allocate_list(len(items))
    verdicts = _verdicts(frame, items, body, "filter")
    return [item for item, kept in zip(items, verdicts, strict=True) if kept]


def _all(frame: Frame, items: list[Any], body: Body) -> bool:
    return all(_verdicts(frame, items, body, "all"))


def _exists(frame: Frame, items: list[Any], body: Body) -> bool:
    return any(_verdicts(frame, items, body, "exists"))


def _sort_by(frame: Frame, items: list[Any], body: Body) -> list[Any]:
    frame.allocate_list(2 * len(items))
    keys = list(_turns(frame, items, body))
    rounds = len(keys).bit_length()
    for key in keys:
        if isinstance(key, str):
            frame.spend(rounds * (len(key) >> BYTES_PER_STEP_SHIFT))
        require_order(keys[0], key, "sort_by()")
    order = sorted(range(len(items)), key=keys.__getitem__)
    return [items[at] for at in order]


def _verdicts(frame: Frame, items: list[Any], body: Body, name: str) -> Iterator[bool]:
    for verdict in _turns(frame, items, body):
        if verdict.__class__ is not bool:
            raise not_boolean(verdict, f"{name}()")
        yield verdict


_MACROS: dict[str, Callable[[Frame, list[Any], Body], Any]] = {
    "all": _all,
    "exists": _exists,
    "filter": _filter,
    "map": _map,
    "sort_by": _sort_by,
}
