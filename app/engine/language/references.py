"""Check what expressions refer to: steps that have run before, and names that are there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.core.errors import Problem
from app.engine.language.catalogue import NodeInfo
from app.engine.language.expressions import Reference
from app.engine.language.plan import Step
from app.engine.language.problems import nearest, pointer

RUN_FIELDS = ("id", "started_at", "trigger")
WORKFLOW_FIELDS = ("id", "name", "version")
STEP_FIELDS = ("output", "status", "error")
ROOTS = ("input", "steps", "run", "workflow", "now")


class ReferenceChecker:
    """Knows the steps above the one that is being checked, and what they put out."""

    def __init__(self, inputs: Mapping[str, Any] | None) -> None:
        self._inputs: Mapping[str, Any] = inputs or {}
        self._before: dict[str, NodeInfo | None] = {}

    def add(self, step_id: str, node: NodeInfo | None) -> None:
        """Let later steps refer to this one."""
        self._before[step_id] = node

    def check(
        self, step: Step, node: NodeInfo | None, at: str, not_before: Sequence[str]
    ) -> Iterator[Problem]:
        """Yield a problem for each reference that can never hold; `not_before` are this step and those after it."""
        for place, reference in step.config.references:
            yield from self._problems(reference, f"{at}/config{place}", ROOTS, not_before)
        for field, expression in step.expressions.items():
            names = (*ROOTS, *(node.expression_fields[field] if node else ()))
            for reference in expression.references:
                yield from self._problems(
                    reference, f"{at}{pointer('config', field)}", names, not_before
                )

    def _problems(
        self, reference: Reference, at: str, names: Sequence[str], not_before: Sequence[str]
    ) -> Iterator[Problem]:
        root, *rest = reference.path
        if root not in names:
            detail = f"There is no variable {root!r} here.{nearest(str(root), names)} There are: {', '.join(names)}."
            yield Problem(at, "unknown_name", detail)
        elif reference.optional:
            return
        elif root == "steps" and rest:
            yield from self._step(rest, at, not_before)
        elif root == "input":
            yield from _missing(self._inputs, rest, at, "input")
        elif root in {"run", "workflow"} and rest:
            yield from _field(
                rest[0], RUN_FIELDS if root == "run" else WORKFLOW_FIELDS, at, str(root)
            )

    def _step(
        self, path: Sequence[str | int], at: str, not_before: Sequence[str]
    ) -> Iterator[Problem]:
        step_id, *rest = path
        name = f"steps.{step_id}"
        if step_id in not_before:
            yield Problem(
                at,
                "step_not_before",
                f"{name} has not run when this step runs: move it above, or drop it.",
            )
        elif step_id not in self._before:
            known = ", ".join(self._before) or "none"
            detail = f"There is no step {step_id!r} before this one.{nearest(str(step_id), self._before)} There are: {known}."
            yield Problem(at, "unknown_step", detail)
        elif rest:
            yield from _field(rest[0], STEP_FIELDS, at, name)
            node = self._before[str(step_id)]
            if node is not None and rest[0] == "output":
                yield from _missing(node.output_schema, rest[1:], at, f"{name}.output")


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
