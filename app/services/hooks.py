"""Hooks of workflows: what can never be called is refused when the workflow is saved."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import httpx
from sqlmodel import Session

from app.core.errors import Problem
from app.engine.children.targets import find_workflow
from app.engine.sdk import Fail
from app.schemas.hook import Hook
from app.schemas.workflow import WorkflowChanges, WorkflowDraft

FIELDS = ("on_success", "on_failure")


def hook_problems(
    session: Session, owner_id: str, form: WorkflowDraft | WorkflowChanges
) -> Sequence[Problem]:
    """Return what is wrong with the hooks that were sent."""
    return [
        problem
        for field in FIELDS
        for number, hook in enumerate(getattr(form, field))
        for problem in _problems(session, owner_id, hook, f"/{field}/{number}")
    ]


def hook_columns(form: WorkflowDraft | WorkflowChanges, sent: Collection[str]) -> dict[str, Any]:
    """Return the columns for the hooks that were sent; null for none, so that their runs are passed over."""
    return {
        field: [hook.model_dump(exclude_none=True) for hook in getattr(form, field)] or None
        for field in FIELDS
        if field in sent
    }


def _problems(session: Session, owner_id: str, hook: Hook, at: str) -> Iterator[Problem]:
    if hook.workflow is not None:
        try:
            find_workflow(session.connection(), owner_id, hook.workflow)
        except Fail as fault:
            yield Problem(f"{at}/workflow", fault.code, fault.message)
    if hook.url is not None and not _can_be_called(hook.url):
        yield Problem(
            f"{at}/url",
            "invalid_url",
            "Give an address that begins with https:// or http://, with a host and without a user name.",
        )


def _can_be_called(text: str) -> bool:
    try:
        url = httpx.URL(text)
        return url.scheme in {"http", "https"} and bool(url.host) and not url.userinfo
    except (httpx.InvalidURL, ValueError):
        return False
