"""Rules for every single write, watched by triggers in Postgres: what is not legal is noted, and not prevented."""

from collections.abc import Iterable

from app.core.statuses import FINAL_RUN_STATUSES, RUN_MOVES, AttemptStatus, RunStatus
from tests.e2e.crash.harness.database import Database

ENGINE_TYPES = ("for_each", "while")
"""Loops, which the engine carries out itself: one over nothing is over before it was ever recorded as running."""
MOVED = "OLD.status <> NEW.status"
CLAIMED = f"{MOVED} AND NEW.status = '{RunStatus.RUNNING}'"


def watch(database: Database) -> None:
    """Note from now on whatever breaks a rule."""
    database.rows(
        """
        CREATE TABLE broken_rules (rule text, before jsonb, after jsonb);
        CREATE FUNCTION note_broken_rule() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO broken_rules VALUES (TG_ARGV[0], to_jsonb(OLD), to_jsonb(NEW)); RETURN NULL; END $$
        """
    )
    legal = _listed(f"{old}>{new}" for old, news in RUN_MOVES.items() for new in news)
    illegal = f"{MOVED} AND OLD.status || '>' || NEW.status NOT IN ({legal})"
    final = _listed(FINAL_RUN_STATUSES)
    _forbid(database, "runs", "UPDATE", "a run makes no illegal move", illegal)
    _forbid(database, "runs", "UPDATE", "an ended run stays as it is", f"OLD.status IN ({final})")
    _forbid(database, "runs", "UPDATE", "an epoch never falls", "NEW.epoch < OLD.epoch")
    _forbid(
        database,
        "runs",
        "UPDATE",
        "a claim begins an epoch",
        f"{CLAIMED} AND NEW.epoch = OLD.epoch",
    )
    _forbid(database, "runs", "DELETE", "a run stays", "true")
    running = f"'{AttemptStatus.RUNNING}'"
    _forbid(
        database,
        "steps",
        "UPDATE",
        "an ended attempt stays as it is",
        f"OLD.status NOT IN ({running}, '{AttemptStatus.WAITING}')",
    )
    unrecorded = (
        f"NEW.attempt > 0 AND NEW.status <> {running} AND NEW.type NOT IN ({_listed(ENGINE_TYPES)})"
    )
    _forbid(database, "steps", "INSERT", "an attempt is recorded before it starts", unrecorded)
    _forbid(database, "steps", "DELETE", "an attempt stays", "true")


def forget(database: Database) -> None:
    """Forget what was noted."""
    database.rows("TRUNCATE broken_rules")


def check_rules(database: Database, but: Iterable[str] = ()) -> None:
    """Check that no write has broken a rule, but those that do not hold here."""
    found = database.rows("SELECT * FROM broken_rules")
    broken = [row for row in found if row["rule"] not in but]
    assert not broken, broken[:5]


def _forbid(database: Database, table: str, event: str, rule: str, condition: str) -> None:
    database.rows(
        f"""
        CREATE TRIGGER "{rule}" AFTER {event} ON {table} FOR EACH ROW WHEN ({condition})
        EXECUTE FUNCTION note_broken_rule('{rule}')
        """
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
