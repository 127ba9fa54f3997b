"""Workflows that start each other, and what became of their runs."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select, update

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import Role
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Control
from app.models import HookCall, Run, User, Wait, Workflow, WorkflowVersion
from tests.integration.engine.world import World

A_DAY = {"id": "nap", "type": "delay", "config": {"seconds": 86_400}}
BAD = {"id": "bad", "type": "fail", "config": {"message": "no", "code": "nope"}}


def transform(value: Any, step: str = "out") -> dict[str, Any]:
    """Return a step that passes on a value."""
    return {"id": step, "type": "transform", "config": {"value": value}}


def call(workflow: str, step: str = "call", /, **config: Any) -> dict[str, Any]:
    """Return a step that runs a workflow; `timeout_seconds`, `retry` and the like go to the step."""
    outside: dict[str, Any] = {
        name: config.pop(name) for name in ("timeout_seconds", "retry") if name in config
    }
    return {
        "id": step,
        "type": "run_workflow",
        "config": {"workflow": workflow, **config},
        **outside,
    }


def change(world: World, workflow_id: str, **columns: Any) -> None:
    """Change columns of a workflow."""
    with Session(world.engine) as session:
        session.exec(update(Workflow).where(col(Workflow.id) == workflow_id).values(**columns))
        session.commit()


def add_version(world: World, workflow_id: str, *steps: dict[str, Any]) -> None:
    """Save version 2 of a workflow."""
    with Session(world.engine) as session:
        session.add(
            WorkflowVersion(
                id=new_id(),
                workflow_id=workflow_id,
                version=2,
                definition={"steps": list(steps)},
                checksum="",
                created_by=world.owner_id,
                created_at=SystemClock().now(),
            )
        )
        session.commit()
    change(world, workflow_id, version=2)


def somebody_else(world: World) -> str:
    """Make another account; returns its id."""
    user_id = new_id()
    with Session(world.engine) as session:
        session.add(
            User(
                id=user_id,
                email="other@example.com",
                password_hash="",
                role=Role.MEMBER,
                created_at=SystemClock().now(),
            )
        )
        session.commit()
    return user_id


def children(world: World, run_id: str) -> Sequence[Run]:
    """Return the runs that a run has started, in order."""
    with Session(world.engine) as session:
        query = select(Run).where(Run.parent_run_id == run_id).order_by(col(Run.id))
        return session.exec(query).all()


def waits(world: World) -> Sequence[Wait]:
    """Return all waits."""
    with Session(world.engine) as session:
        return session.exec(select(Wait)).all()


def calls(world: World) -> Sequence[HookCall]:
    """Return all calls of URLs."""
    with Session(world.engine) as session:
        return session.exec(select(HookCall)).all()


def cancel(world: World, run_id: str) -> frozenset[str]:
    """Cancel a run as a person would."""
    control = Control("cancel", "owner@example.com", SystemClock().now(), "enough")
    with world.engine.begin() as connection:
        return cancel_runs(connection, [run_id], control)


async def child_of(world: World, run_id: str) -> Run:
    """Wait for the run that a run starts."""
    await world.until(lambda: bool(children(world, run_id)))
    return children(world, run_id)[0]
