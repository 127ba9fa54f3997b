"""Every endpoint under /api/v1."""

from fastapi import APIRouter

from app.api.v1.endpoints import account, controls, nodes, runs, triggers, workflows

router = APIRouter(prefix="/api/v1")
router.include_router(triggers.router)
router.include_router(account.router)
router.include_router(workflows.router)
router.include_router(runs.router)
router.include_router(controls.router)
router.include_router(nodes.router)
