"""`status`: what the platform is doing right now, told from the database and the queue."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import typer
from redis.exceptions import RedisError
from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from app.cli.columns import in_columns, moment
from app.cli.connections import open_database, with_servers
from app.core.config import load_settings
from app.core.statuses import RunStatus
from app.engine.delivery.dispatch import connect_redis, count_hints
from app.engine.store import database_now
from app.models import Run, Worker

app = typer.Typer(add_completion=False)


@app.command()
def status() -> None:
    """Show the workers, the runs by status, the oldest queued run, and the depth of the queue."""
    with (
        with_servers(load_settings(), "database_url", "redis_url") as settings,
        open_database(settings) as engine,
    ):
        facts = [*_facts(engine), ("hints on the queue", _queue_depth(settings.redis_url or ""))]
    for line in in_columns(*facts):
        typer.echo(line)


def _facts(engine: Engine) -> Iterator[tuple[str, object]]:
    with Session(engine) as session:
        now = database_now(session.connection())
        yield "workers alive", len(_living(session, now))
        for worker in _living(session, now):
            yield f"  {worker.host}", f"process {worker.pid}, since {moment(worker.started_at)}"
        counts = dict(
            session.exec(select(Run.status, func.count()).group_by(col(Run.status))).all()
        )
        for state in RunStatus:
            yield f"runs {state}", counts.get(state, 0)
        yield "oldest queued run", _oldest_queued(session, now)


def _living(session: Session, now: datetime) -> Sequence[Worker]:
    living = select(Worker).where(col(Worker.lease_expires_at) > now)
    return session.exec(living.order_by(col(Worker.started_at))).all()


def _oldest_queued(session: Session, now: datetime) -> str:
    queued = select(Run.created_at).where(col(Run.status) == RunStatus.QUEUED)
    oldest = session.exec(queued.order_by(col(Run.created_at)).limit(1)).first()
    return "none" if oldest is None else f"{(now - oldest).total_seconds():.1f} s"


def _queue_depth(url: str) -> str:
    """Return how many hints wait, each for up to 200 runs; without Redis the sweep brings the runs."""
    redis = connect_redis(url)
    try:
        return str(count_hints(redis))
    except RedisError as error:
        return f"unknown, Redis does not answer ({error})"
    finally:
        redis.close()
