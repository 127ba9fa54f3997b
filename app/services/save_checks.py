"""What is checked when a workflow is saved, whoever owns it."""

from collections.abc import Sequence

from app.core.errors import InvalidDefinition, Problem


def check(problems: Sequence[Problem]) -> None:
    """Refuse what a caller wants to save when there is anything wrong with it.

    Raises:
        InvalidDefinition: every problem at once, with pointers into the request body.
    """
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidDefinition(
            f"The workflow has {count}: mend what `errors` lists and send it again.", problems
        )
