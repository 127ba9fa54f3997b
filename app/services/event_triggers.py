"""Workflows that begin with an event: what could never start is refused when the workflow is saved."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from app.core.errors import Problem
from app.engine.evidence.run_context import merged_context, missing_fields
from app.models import Workflow
from app.schemas.workflow import WorkflowChanges, WorkflowDraft
from app.services.expression_checks import expression_problems

FILTER_NAMES = ("event",)


def event_problems(
    form: WorkflowDraft | WorkflowChanges, saved: Workflow | None
) -> Iterator[Problem]:
    """Return what is wrong with `on_event`, as it will be once the form is saved over what there is."""
    if form.on_event is not None and form.on_event.filter is not None:
        what = "the filter of an event sees `event`"
        yield from expression_problems("/on_event/filter", form.on_event.filter, FILTER_NAMES, what)
    if _begins_with_event(form, saved):
        rules = _context_rules(form, saved)
        for name in missing_fields(rules, merged_context(rules, None)):
            yield Problem(
                f"/context/defaults/{name}",
                "missing_context",
                f"An event starts this workflow and cannot give `{name}`, which `context` requires: set its default, or leave out `on_event`.",
            )


def event_columns(form: WorkflowDraft | WorkflowChanges, sent: Collection[str]) -> dict[str, Any]:
    """Return the columns for `on_event`, if it was sent."""
    if "on_event" not in sent:
        return {}
    if form.on_event is None:
        return {"event_type": None, "event_filter": None}
    return {"event_type": form.on_event.type, "event_filter": form.on_event.filter}


def _begins_with_event(form: WorkflowDraft | WorkflowChanges, saved: Workflow | None) -> bool:
    if saved is None or "on_event" in form.model_fields_set:
        return form.on_event is not None
    return saved.event_type is not None


def _context_rules(
    form: WorkflowDraft | WorkflowChanges, saved: Workflow | None
) -> Mapping[str, Any] | None:
    if saved is None or "context" in form.model_fields_set:
        return form.context.stored if form.context else None
    rules: Mapping[str, Any] | None = saved.context_required
    return rules
