"""Check what expressions refer to: steps that have run before, and names that are there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import Problem
from app.engine.language.expressions import Reference
from app.engine.language.problems import nearest

RUN_FIELDS = ("id", "started_at", "trigger")
WORKFLOW_FIELDS = ("id", "name", "version")
STEP_FIELDS = ("output", "status", "error")
ROOTS = ("input", "steps", "run", "workflow", "now")
SECRETS = "secrets"

NO_SECRETS_HERE = (
    "`secrets` cannot be used here, where its value would be stored: name the credential in the `credential` field of the step "
    "that sends it, or use `secrets` in `${{ … }}` in the config of such a step (node types with `takes_secrets`, such as "
    "http_request_node)."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression in one place of the step `own` may refer to. `outputs` are the schemas of what steps put out."""

    inputs: Mapping[str, Any]
    local: tuple[str, ...] = ()
    before: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()
    certain: frozenset[str] = frozenset()
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own: str = ""

    def problems(self, reference: Reference, at: str) -> Iterator[Problem]:
        """Yield a problem when a reference can never hold, or holds on some ways through the workflow only."""
        root, *rest = reference.path
        names = (*ROOTS, *self.local)
        if root == SECRETS:
            yield from self._secret(rest, at)
        elif root not in names:
            detail = f"There is no variable {root!r} here.{nearest(str(root), names)} There are: {', '.join(names)}."
            yield Problem(at, "unknown_name", detail)
        elif root == "steps" and rest:
            yield from self._step(rest, at, optional=reference.optional)
        elif reference.optional:
            return
        elif root == "input":
            yield from _missing(self.inputs, rest, at, "input")
        elif root in {"run", "workflow"} and rest:
            yield from _field(
                rest[0], RUN_FIELDS if root == "run" else WORKFLOW_FIELDS, at, str(root)
            )

    def _secret(self, path: Sequence[str | int], at: str) -> Iterator[Problem]:
        if SECRETS not in self.local:
            yield Problem(at, "secrets_not_allowed_here", NO_SECRETS_HERE)
        elif not path or not isinstance(path[0], str):
            detail = 'Write which credential is meant: `secrets.name` or `secrets["a name"]`; it cannot come from data.'
            yield Problem(at, "unknown_credential", detail)

    def _step(self, path: Sequence[str | int], at: str, *, optional: bool) -> Iterator[Problem]:
        step, rest, name = str(path[0]), path[1:], f"steps.{path[0]}"
        if step not in self.outputs:
            known = ", ".join(sorted(self.before)) or "none"
            detail = f"There is no step {step!r}.{nearest(step, self.before)} Before this one come: {known}."
            yield Problem(at, "unknown_step", detail)
        elif optional:
            return
        elif step not in self.before:
            how = (
                "it is this step itself, which has no output yet"
                if step == self.own
                else "let this step depend on it, or drop the reference"
            )
            detail = f"{name} has not run when this step runs: {how}."
            yield Problem(at, "step_not_before", detail)
        elif step not in self.settled:
            yield _maybe(at, name, "may not have run yet", "steps?." + step)
        elif rest:
            yield from _field(rest[0], STEP_FIELDS, at, name)
            yield from self._output(step, rest, at)

    def _output(self, step: str, path: Sequence[str | int], at: str) -> Iterator[Problem]:
        if path[0] != "output" or len(path) == 1:
            return
        if step in self.certain:
            yield from _missing(self.outputs[step], path[1:], at, f"steps.{step}.output")
        else:
            yield _maybe(
                at,
                f"steps.{step}",
                "may have been skipped, or have failed",
                f"steps.{step}.output?",
            )


def _maybe(at: str, name: str, what: str, how: str) -> Problem:
    return Problem(
        at,
        "step_may_be_missing",
        f"{name} {what}: write `{how}.…` with `?.`, and `??` for a default.",
    )


def _field(name: str | int, fields: Sequence[str], at: str, parent: str) -> Iterator[Problem]:
    if name not in fields:
        detail = (
            f"{parent} has no {name!r}.{nearest(str(name), fields)} It has: {', '.join(fields)}."
        )
        yield Problem(at, "unknown_path", detail)


def _missing(
    schema: Mapping[str, Any], path: Sequence[str | int], at: str, parent: str
) -> Iterator[Problem]:
    """Yield a problem when a schema rules out a path; schemas that leave it open are believed."""
    for name in path:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or schema.get("additionalProperties") is not False:
            return
        if name not in properties:
            yield from _field(name, tuple(properties), at, parent)
            return
        schema, parent = properties[name], f"{parent}.{name}"
        if not isinstance(schema, Mapping):
            return
