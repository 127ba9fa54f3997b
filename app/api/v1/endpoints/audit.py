"""What was done, by whom: the audit log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from app.api.deps import CurrentCaller, Cursor, Limit, OpenSession, Services, TenantSession, needs
from app.api.openapi import problems
from app.core.permissions import Scope
from app.engine.audit.anchors import anchor_file
from app.engine.audit.verifying import verify
from app.schemas.audit import AuditEntryForm, AuditVerdict, BadEntry
from app.schemas.common import ObjectId, Page, UtcTime
from app.services.audit_log import AuditFilter, AuditLog, exported
from app.services.pages import DEFAULT_LIMIT

JSON_LINES = "application/jsonl"
router = APIRouter(tags=["Audit"])


async def audit_filter(  # noqa: PLR0913 - each is a filter of its own
    actor: Annotated[
        str | None,
        Query(description="Only what this account did: its id or e-mail address.", max_length=320),
    ] = None,
    action: Annotated[
        str | None,
        Query(
            description="Only actions that begin so.",
            pattern=r"^[a-z0-9_.]{1,100}$",
            examples=["workflow."],
        ),
    ] = None,
    target_kind: Annotated[
        str | None,
        Query(description="Only what was done to such things.", pattern=r"^[a-z0-9_]{1,100}$"),
    ] = None,
    target_id: Annotated[
        str | None, Query(description="Only what was done to this one.", max_length=500)
    ] = None,
    owner_id: Annotated[
        ObjectId | None, Query(description="Only what was done to this user's or team's things.")
    ] = None,
    run_id: Annotated[ObjectId | None, Query(description="Only what is about this run.")] = None,
    since: Annotated[
        UtcTime | None,
        Query(description="Only from this time on.", examples=["2026-11-01T00:00:00Z"]),
    ] = None,
    until: Annotated[UtcTime | None, Query(description="Only before this time.")] = None,
) -> AuditFilter:
    """Return which entries the caller wants."""
    return AuditFilter(actor, action, target_kind, target_id, owner_id, run_id, since, until)


Wanted = Annotated[AuditFilter, Depends(audit_filter)]


async def get_my_log(caller: CurrentCaller, session: TenantSession, wanted: Wanted) -> AuditLog:
    """Return what concerns the caller in the audit log."""
    return AuditLog(session, caller, wanted)


async def get_audit_log(caller: CurrentCaller, session: OpenSession, wanted: Wanted) -> AuditLog:
    """Return what the caller may read of the audit log."""
    return AuditLog(session, caller, wanted)


MyLog = Annotated[AuditLog, Depends(get_my_log)]
WholeLog = Annotated[AuditLog, Depends(get_audit_log)]


@router.get(
    "/audit",
    dependencies=[needs(Scope.ACCOUNT_READ)],
    summary="What was done to what is mine",
    responses=problems(401, 422),
)
def list_my_entries(
    audit: MyLog, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[AuditEntryForm]:
    """Return what was done by me, or to what I or my teams own, newest first."""
    found, next_cursor = audit.mine(limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/admin/audit",
    dependencies=[needs(Scope.AUDIT_READ)],
    summary="What was done on the whole platform",
    responses=problems(401, 403, 422),
)
def list_entries(
    audit: WholeLog, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[AuditEntryForm]:
    """Return what people and the platform have done, newest first. For operators."""
    found, next_cursor = audit.all(limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/admin/audit/export",
    dependencies=[needs(Scope.AUDIT_READ)],
    summary="Export the audit log",
    response_class=StreamingResponse,
    responses=problems(401, 403, 422)
    | {200: {"content": {JSON_LINES: {"schema": {"type": "string"}}}}},
)
def export_entries(wanted: Wanted, container: Services) -> StreamingResponse:
    """Return the entries in order, oldest first, as one JSON object a line. For operators."""
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(
        exported(container.engine, wanted), headers=headers, media_type=JSON_LINES
    )


@router.get(
    "/admin/audit/verify",
    dependencies=[needs(Scope.AUDIT_READ)],
    summary="Check the audit log",
    responses=problems(401, 403),
)
def verify_log(container: Services) -> AuditVerdict:
    """Check every entry against the one before it and against the anchors; name the first that does not hold.

    It reads the whole log: about a minute for a million entries. For operators.
    """
    found = verify(container.engine, anchor_file(container.settings))
    fault = found.fault
    bad = fault and BadEntry(seq=fault.seq, reason=fault.reason, detail=fault.detail)
    return AuditVerdict(
        valid=fault is None,
        entries=found.entries,
        first_bad=bad,
        anchored_seq=found.anchored_seq,
        checked_at=container.clock.now(),
    )
