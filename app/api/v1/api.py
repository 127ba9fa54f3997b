"""Every endpoint under /api/v1."""

from app.api.v1.endpoints import (
    account,
    admin,
    api_keys,
    approvals,
    audit,
    controls,
    events,
    evidence,
    kill_switches,
    nodes,
    oidc,
    people,
    policies,
    runs,
    schedules,
    sessions,
    streams,
    triggers,
    workflows,
)

PREFIX = "/api/v1"
ROUTERS = (
    triggers.router,
    events.router,
    account.router,
    sessions.router,
    oidc.router,
    api_keys.router,
    workflows.router,
    streams.router,  # before the runs: `/runs/stream` is no run's id
    schedules.router,
    runs.router,
    evidence.router,
    approvals.links,
    approvals.router,
    controls.router,
    nodes.router,
    policies.router,
    admin.router,
    audit.router,
    people.router,
    kill_switches.router,
)
"""In the order in which a request is held against them. Not gathered in a router of their own: FastAPI would put each of its
routes together once more."""
