"""What runs can show for themselves."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.body import JSON_TYPE, GuardedRoute
from app.api.deps import CurrentCaller, Cursor, Limit, RunId, TenantSession, needs
from app.api.openapi import problems
from app.core.permissions import Scope
from app.schemas.common import Page
from app.schemas.evidence import EvidenceForm
from app.services.evidence import RunEvidence
from app.services.pages import DEFAULT_LIMIT

router = APIRouter(tags=["Runs"], route_class=GuardedRoute)


async def get_run_evidence(caller: CurrentCaller, session: TenantSession) -> RunEvidence:
    """Return what the caller may read of the evidence of runs."""
    return RunEvidence(session, caller)


EvidenceOfRuns = Annotated[RunEvidence, Depends(get_run_evidence)]


@router.get(
    "/runs/{run_id}/evidence",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Evidence of a run",
    responses=problems(401, 404, 422),
)
def list_evidence(
    run_id: RunId,
    evidence: EvidenceOfRuns,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[EvidenceForm]:
    """Return what the run's steps have put on record, oldest first, each with its SHA-256."""
    found, next_cursor = evidence.list(run_id, limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/runs/{run_id}/evidence/bundle",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Export everything that is recorded of a run",
    response_class=Response,
    responses=problems(401, 404, 409) | {200: {"content": {JSON_TYPE: {"schema": {}}}}},
)
def export_bundle(run_id: RunId, evidence: EvidenceOfRuns) -> Response:
    """Return the run, its version, attempts, approvals, logs and evidence as one JSON document with hashes.

    Save it byte by byte as it is; `python3 main.py runs evidence verify FILE` checks it, without a network.
    """
    name = f'attachment; filename="evidence-{run_id}.json"'
    return Response(evidence.bundle(run_id), 200, {"Content-Disposition": name}, JSON_TYPE)
