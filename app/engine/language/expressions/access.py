"""Access to data: a look-up in a map or a list, nothing else, and an explanation when it finds nothing."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from app.engine.language.expressions.budget import Frame
from app.engine.language.expressions.faults import (
    ExpressionFault,
    TypeMismatch,
    UnknownName,
    UnknownPath,
    listing,
    nearest,
)
from app.engine.language.expressions.values import described, kind

Run = Callable[[Frame], Any]
Link = Callable[[Frame, Any], Any]
Key = str | int

MISSING: Final = object()


def variable(name: str) -> Run:
    """Return a reader of a variable of the scope."""

    def read(frame: Frame) -> Any:
        try:
            return frame.scope[name]
        except KeyError:
            raise _unknown_name(frame.scope, name) from None

    return read


def path(keys: tuple[str, ...]) -> Run:
    """Return a reader of a path of names, the first of which is a variable: the way that most expressions go."""

    def read(frame: Frame) -> Any:
        value: Any = frame.scope
        try:
            for key in keys:
                value = value[key]
        except (KeyError, TypeError):
            raise _explained(frame.scope, keys) from None
        return value

    return read


def local(slot: int) -> Run:
    """Return a reader of a variable that a macro binds."""

    def read(frame: Frame) -> Any:
        return frame.variables[slot]

    return read


def chain(base: Run, links: tuple[Link, ...]) -> Run:
    """Return a reader that applies links from left to right; an optional one that finds nothing ends it with null."""

    def read(frame: Frame) -> Any:
        value = base(frame)
        for link in links:
            value = link(frame, value)
            if value is MISSING:
                return None
        return value

    return read


def field(key: Key, label: str, *, optional: bool) -> Link:
    """Return the link `.key`; `label` is the source text before it, for messages."""

    def follow(_frame: Frame, value: Any) -> Any:
        found = look_up(value, key)
        if found is MISSING and not (optional and _may_lack(value, key)):
            raise _nothing_there(value, key, label)
        return found

    return follow


def index(key: Run, label: str, *, optional: bool) -> Link:
    """Return the link `[key]`, where the key is computed. It may come from data, so messages do not quote it."""

    def follow(frame: Frame, value: Any) -> Any:
        at = key(frame)
        if kind(at) != "string" and at.__class__ is not int:
            raise TypeMismatch(
                f"`{label}[…]` has {described(at)} in its brackets: give it a string for a map, a whole number for a list."
            )
        found = look_up(value, at)
        if found is MISSING and not (optional and _may_lack(value, at)):
            raise _nothing_at(value, at, label)
        return found

    return follow


def look_up(value: Any, key: Key) -> Any:
    """Return what a map or a list holds under a key, or `MISSING`."""
    try:
        if isinstance(key, str):
            return value[key] if isinstance(value, (dict, Mapping)) else MISSING
        return value[key] if isinstance(value, list) else MISSING
    except LookupError:
        return MISSING


def label_of(label: str, key: Key) -> str:
    """Return the source text of a label followed by a key."""
    if isinstance(key, str) and _is_name(key):
        return f"{label}.{key}"
    return f"{label}[{json.dumps(key, ensure_ascii=False)}]"


def _is_name(key: str) -> bool:
    return key.isascii() and key.isidentifier()


def _shown(key: Any) -> str:
    return str(key) if _is_name(str(key)) else f"[{json.dumps(str(key), ensure_ascii=False)}]"


def _may_lack(value: Any, key: Key) -> bool:
    return kind(value) in ("null", "map" if isinstance(key, str) else "list")


def _unknown_name(scope: Mapping[str, Any], name: str) -> UnknownName:
    return UnknownName(
        f"There is no variable `{name}` here: there are {listing(scope)}.{nearest(name, scope)}"
    )


def _explained(scope: Mapping[str, Any], keys: tuple[str, ...]) -> ExpressionFault:
    """Return the fault of the first key of a path that is not there."""
    if keys[0] not in scope:
        return _unknown_name(scope, keys[0])
    value, label = scope[keys[0]], keys[0]
    for key in keys[1:-1]:
        found = look_up(value, key)
        if found is MISSING:
            return _nothing_there(value, key, label)
        value, label = found, label_of(label, key)
    return _nothing_there(value, keys[-1], label)


def _nothing_there(value: Any, key: Key, label: str) -> UnknownPath:
    whole = label_of(label, key)
    if isinstance(value, (dict, Mapping)) and isinstance(key, str):
        return UnknownPath(
            f"There is no `{whole}`: `{label}` {_names_in(value)}.{nearest(key, value)}"
        )
    return UnknownPath(f"There is no `{whole}`: {_why_not(value, label)}")


def _nothing_at(value: Any, key: Key, label: str) -> UnknownPath:
    if isinstance(value, (dict, Mapping)) and isinstance(key, str):
        return UnknownPath(
            f"There is no such key as `{label}[…]` asks for: `{label}` {_names_in(value)}."
        )
    return UnknownPath(f"There is no `{label}[…]`: {_why_not(value, label)}")


def _names_in(value: Mapping[str, Any]) -> str:
    return f"has {listing(_shown(name) for name in value)}" if value else "is empty"


def _why_not(value: Any, label: str) -> str:
    if value is None:
        return f"`{label}` is null; use `?.` or `??` if that may happen."
    if isinstance(value, list):
        return f"`{label}` is a list of {len(value)} items; count from 0, or from -1 backwards."
    if isinstance(value, (dict, Mapping)):
        return f"`{label}` is a map; give it a string in the brackets."
    return f"`{label}` is {described(value)}, which holds no fields."
