"""Refuse what kill switches stop: nothing is stored, and the caller is told why, and when to come again."""

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import Final

from sqlmodel import Session, col, select

from app.core.errors import KillSwitched
from app.engine.guards.store import read_switches
from app.engine.guards.switches import KillSwitch, Switches, stopping_new
from app.models import Run

RETRY_AFTER_SECONDS: Final = 60
"""When to come again if nobody knows how long a switch will stand."""
MAX_RETRY_AFTER_SECONDS: Final = 3_600


def refusal(
    switches: Switches, owner_id: str, workflow_id: str, now: datetime
) -> KillSwitched | None:
    """Return why no run of a workflow may be made; None when it may."""
    switch = stopping_new(switches, owner_id, workflow_id, now)
    return None if switch is None else _refused_by(switch, now)


def require_not_stopped(session: Session, owner_id: str, workflow_id: str, now: datetime) -> None:
    """Do nothing when a run of a workflow may be made, or go on.

    Raises:
        KillSwitched: it may not.
    """
    found = refusal(read_switches(session.connection()), owner_id, workflow_id, now)
    if found is not None:
        raise found


def not_stopped(session: Session, run_ids: Sequence[str], now: datetime) -> Sequence[str]:
    """Return those of the runs that may go on.

    Raises:
        KillSwitched: none of them may.
    """
    switches = read_switches(session.connection())
    if not switches or not run_ids:
        return run_ids
    query = select(Run.id, Run.owner_id, Run.workflow_id).where(col(Run.id).in_(run_ids))
    refusals = {
        run_id: refusal(switches, owner_id, workflow_id, now)
        for run_id, owner_id, workflow_id in session.exec(query).all()
    }
    left = [run_id for run_id in run_ids if refusals.get(run_id) is None]
    first = next(iter(refusals.values()), None)
    if not left and first is not None:
        raise first
    return left


def _refused_by(switch: KillSwitch, now: datetime) -> KillSwitched:
    seconds = RETRY_AFTER_SECONDS
    if switch.expires_at is not None:
        seconds = ceil((switch.expires_at - now).total_seconds())
    return KillSwitched(switch.held.reason, min(max(seconds, 1), MAX_RETRY_AFTER_SECONDS))
