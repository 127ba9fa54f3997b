"""Which credentials a step uses: named by fields of its config, and read by its expressions as `secrets.<name>`."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.engine.language.expression_places import CredentialPlace, path_of
from app.engine.language.expressions import Template
from app.engine.language.plan import CredentialUse, StepSecrets
from app.engine.language.problems import pointer
from app.engine.language.references import SECRETS


def step_secrets(
    template: Template, raw: Mapping[str, Any], fields: Sequence[CredentialPlace], at: str
) -> StepSecrets | None:
    """Return what a step needs of the vault; None when that is nothing. `at` is the pointer of its config."""
    read = [
        (place, expression, reference.path[1])
        for place, expression in template.expressions
        for reference in expression.references
        if reference.path[0] == SECRETS and len(reference.path) > 1
    ]
    if not read and not fields:
        return None
    named = [CredentialUse(field.name, at + pointer(*field.path), field.kinds) for field in fields]
    in_expressions = [CredentialUse(str(name), at + place) for place, _, name in read]
    return StepSecrets(
        uses=tuple(dict.fromkeys([*named, *in_expressions])),
        named=frozenset(use.name for use in named),
        in_expressions=frozenset(use.name for use in in_expressions),
        expressions=tuple({id(expression): expression for _, expression, _ in read}.values()),
        places=frozenset(path_of(place, raw) for place, _, _ in read),
    )
