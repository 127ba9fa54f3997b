"""Where a secret may stand in an expression: where it is passed on whole.

What compares, cuts or counts a secret tells of it by whether the step works, a character at a time, to whoever may edit the
workflow without knowing the secret.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from app.engine.language.expressions import Template
from app.engine.language.expressions.parser import parse
from app.engine.language.expressions.syntax import (
    Call,
    Chain,
    Coalesce,
    Conditional,
    Field,
    Link,
    ListOf,
    MapOf,
    Method,
    Name,
    Node,
    Operation,
)
from app.engine.language.references import SECRETS

WHOLE: Final = frozenset({"join", "lower", "string", "to_json", "trim", "upper", "url_encode"})
"""Functions that pass on all that they are given."""
NOT_WHOLE: Final = (
    "A secret is passed on whole, and nothing is decided by it: use it as it is, within a text, with `+` or `??`, or in "
    f"{', '.join(f'{name}()' for name in sorted(WHOLE))}."
)


def looking_into_secrets(template: Template) -> list[str]:
    """Return the places of expressions that do more with a secret than to pass it on."""
    return [at for at, found in template.expressions if looks_into_secrets(found.source)]


def looks_into_secrets(source: str) -> bool:
    """Tell whether an expression does more with a secret than to pass it on."""
    return SECRETS in source and _looks(parse(source))


def _looks(node: Node) -> bool:
    if isinstance(node, Chain):
        secret = _holds(node.base)
        return _looks(node.base) or any(_link_looks(link, secret) for link in node.links)
    if isinstance(node, Conditional) and _holds(node.test):
        return True
    parts = _passed_on(node)
    return _holds(node) if parts is None else any(_looks(part) for part in parts)


def _passed_on(node: Node) -> Sequence[Node] | None:
    """Return the parts that a value is put together of, unchanged; None when it is made in another way."""
    parts: Sequence[Node] | None = None
    match node:
        case Name():
            parts = ()
        case ListOf(items=given) | Coalesce(operands=given):
            parts = given
        case MapOf():
            parts = [value for _, value in node.entries]
        case Operation() if all(operator == "+" for operator, _ in node.rest):
            parts = [node.first, *(operand for _, operand in node.rest)]
        case Call() if node.name in WHOLE:
            parts = node.arguments
        case Conditional():
            parts = (node.yes, node.no)
        case _:
            pass
    return parts


def _link_looks(link: Link, secret: bool) -> bool:
    """Tell whether a link of a chain does, which begins with a secret or not."""
    match link:
        case Field():
            return secret and not isinstance(link.key, str)
        case Method() if link.name in WHOLE:
            return any(_looks(argument) for argument in link.arguments)
        case _:
            return secret or _holds(link)


def _holds(part: Any) -> bool:
    """Tell whether secrets are read anywhere in a part of a tree."""
    if isinstance(part, Name):
        return part.name == SECRETS
    if isinstance(part, tuple):
        return any(_holds(item) for item in part)
    return is_dataclass(part) and any(_holds(getattr(part, field.name)) for field in fields(part))
