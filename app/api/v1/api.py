"""Every endpoint under /api/v1."""

from fastapi import APIRouter

from app.api.v1.endpoints import account, events, nodes, runs, triggers, workflows

router = APIRouter(prefix="/api/v1")
router.include_router(triggers.router)
router.include_router(events.router)
router.include_router(account.router)
router.include_router(workflows.router)
router.include_router(runs.router)
router.include_router(nodes.router)
