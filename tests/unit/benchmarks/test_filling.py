"""The statements that make a long history."""

from app.models import Run, RunLog, StepAttempt
from benchmarks.filling import copies


def test_every_column_of_every_table_is_copied() -> None:
    for statement, model in zip(copies(), (Run, StepAttempt, RunLog), strict=True):
        named = statement.partition("(")[2].partition(")")[0].split(", ")

        assert set(named) == set(model.model_fields)


def test_copies_have_ids_keys_and_times_of_their_own() -> None:
    runs, steps, logs = copies()

    for own in ("t.id,", "t.idempotency_key", " t.created_at,", " t.finished_at,"):
        assert own not in runs.partition("SELECT")[2].partition("FROM runs")[0]
    assert "t.run_id," not in steps + logs
