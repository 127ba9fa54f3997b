"""Every status: what it means, who moves it, what comes next. A CHECK holds each column to these values."""

from enum import StrEnum
from typing import Final


class RunStatus(StrEnum):
    """Where one execution of a workflow stands."""

    QUEUED = "queued"
    """Something is to be done and no worker holds it. Set by intake; by the sweep when a wait ends; when a worker gives
    it back, or is taken for dead."""
    RUNNING = "running"
    """A worker holds it and has something to do. Set by a claim."""
    WAITING = "waiting"
    """Nothing to do until a time; no worker is held. Set with the checkpoint that leaves only waits."""
    SUCCEEDED = "succeeded"
    """Every step is settled and none failed unhandled. Final; set with the last checkpoint."""
    FAILED = "failed"
    """A step failed for good. Final; set with that step's checkpoint."""
    CANCELLED = "cancelled"
    """A person stopped it. Final."""
    TIMED_OUT = "timed_out"
    """The definition's `timeout_seconds` passed. Final; set by the orchestrator."""


FINAL_RUN_STATUSES: Final = frozenset(
    {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT}
)

RUN_MOVES: Final[dict[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset({RunStatus.QUEUED, RunStatus.WAITING}) | FINAL_RUN_STATUSES,
    RunStatus.WAITING: frozenset({RunStatus.QUEUED}),
    **{status: frozenset() for status in FINAL_RUN_STATUSES},
}
"""Legal moves. The SQL of `app.engine.store` makes each; a test reads them off real runs."""


class AttemptStatus(StrEnum):
    """Where one try at a step stands. `skipped` stands for a step that was never tried."""

    RUNNING = "running"
    """Recorded before it starts."""
    SUCCEEDED = "succeeded"
    """Its output is a checkpoint: it never changes and is never redone."""
    FAILED = "failed"
    """It raised, or its result could not be kept. `retry_at` says when the next attempt is due, if there is one."""
    TIMED_OUT = "timed_out"
    """It took longer than the step's `timeout_seconds`. `retry_at` as for `failed`."""
    LOST = "lost"
    """Its worker died. Consumes no attempt of the user's retry policy; three of them fail the step."""
    SKIPPED = "skipped"
    """No edge into the step was taken."""
    CANCELLED = "cancelled"
    """It was interrupted because the run ended."""


class StepStatus(StrEnum):
    """What became of a step in a run, told from its attempts."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class TriggerKind(StrEnum):
    """What started a run."""

    MANUAL = "manual"
    WEBHOOK = "webhook"


class Role(StrEnum):
    """What a user may do on the platform."""

    ADMIN = "admin"
    MEMBER = "member"


class WebhookAuth(StrEnum):
    """Who may call a workflow's webhook address without being its owner."""

    TOKEN = "token"
    """Whoever has the token that is part of `webhook_url`."""
    OPEN = "open"
    """Anybody who knows the address."""
