"""What is checked when a workflow is saved, whoever owns it."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.core.errors import InvalidDefinition, Problem
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.definition import parse_definition
from app.schemas.workflow import Dedupe
from app.services.expression_checks import expression_problems

DEDUPE_NAMES = ("input", "headers")


def check(
    definition: dict[str, Any] | None,
    dedupe: Dedupe | None,
    catalogue: NodeCatalogue,
    others: Sequence[Problem] = (),
) -> None:
    """Check what a caller wants to save; what is None stays as it is. `others` are problems found elsewhere.

    Raises:
        InvalidDefinition: every problem at once, with pointers into the request body.
    """
    problems = [*_dedupe_problems(dedupe), *others]
    if definition is not None:
        problems = [*definition_problems(definition, catalogue), *problems]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidDefinition(
            f"The workflow has {count}: mend what `errors` lists and send it again.", problems
        )


def definition_problems(definition: Any, catalogue: NodeCatalogue) -> Sequence[Problem]:
    """Return everything that is wrong with a definition, with pointers that begin with `/definition`."""
    try:
        parse_definition(definition, catalogue)
    except InvalidDefinition as error:
        return [Problem(f"/definition{p.pointer}", p.code, p.detail) for p in error.problems]
    return []


def _dedupe_problems(dedupe: Dedupe | None) -> Iterator[Problem]:
    if dedupe is None or dedupe.key is None:
        return
    what = "a dedupe key sees `input` and `headers`"
    yield from expression_problems("/dedupe/key", dedupe.key, DEDUPE_NAMES, what)
