"""Every endpoint under /api/v1."""

from fastapi import APIRouter

from app.api.v1.endpoints import (
    account,
    admin,
    approvals,
    controls,
    events,
    evidence,
    nodes,
    runs,
    schedules,
    streams,
    triggers,
    workflows,
)

router = APIRouter(prefix="/api/v1")
router.include_router(triggers.router)
router.include_router(events.router)
router.include_router(account.router)
router.include_router(workflows.router)
router.include_router(streams.router)  # before the runs: `/runs/stream` is no run's id
router.include_router(schedules.router)
router.include_router(runs.router)
router.include_router(evidence.router)
router.include_router(approvals.links)
router.include_router(approvals.router)
router.include_router(controls.router)
router.include_router(nodes.router)
router.include_router(admin.router)
