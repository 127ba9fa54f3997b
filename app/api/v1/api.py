"""Every endpoint under /api/v1."""

from app.api.v1.endpoints import (
    account,
    admin,
    approvals,
    audit,
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

PREFIX = "/api/v1"
ROUTERS = (
    triggers.router,
    events.router,
    account.router,
    workflows.router,
    streams.router,  # before the runs: `/runs/stream` is no run's id
    schedules.router,
    runs.router,
    evidence.router,
    approvals.links,
    approvals.router,
    controls.router,
    nodes.router,
    admin.router,
    audit.router,
)
"""In the order in which a request is held against them. Not gathered in a router of their own: FastAPI would put each of its
routes together once more."""
