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
    """Nothing to do until something happens; no worker is held. Set with the checkpoint that leaves only waits."""
    PAUSED = "paused"
    """A person, or a step that asks, has stopped it: nothing new starts until it is resumed. A worker may still hold it
    while attempts in flight end. Set by a control, or by a claim that finds a lost attempt of a node that asks."""
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
    RunStatus.QUEUED: frozenset(
        {RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.FAILED, RunStatus.CANCELLED}
    ),
    RunStatus.RUNNING: frozenset({RunStatus.QUEUED, RunStatus.WAITING, RunStatus.PAUSED})
    | FINAL_RUN_STATUSES,
    RunStatus.WAITING: frozenset({RunStatus.QUEUED, RunStatus.PAUSED, RunStatus.CANCELLED}),
    RunStatus.PAUSED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED}),
    **{status: frozenset() for status in FINAL_RUN_STATUSES - {RunStatus.FAILED}},
}
"""Legal moves. The SQL of `app.engine.store` and `app.engine.controls` makes each; a test reads them off real runs. The one
way out of an end is the retry of a failed step."""


class AttemptStatus(StrEnum):
    """Where one try at a step stands. `skipped` stands for a step that was never tried."""

    RUNNING = "running"
    """Recorded before it starts."""
    WAITING = "waiting"
    """The node has answered that it waits: for a time, an event, people or another run. No worker is held."""
    SUCCEEDED = "succeeded"
    """Its output is a checkpoint: it never changes and is never redone."""
    FAILED = "failed"
    """It raised, or its result could not be kept. `retry_at` says when the next attempt is due, if there is one."""
    TIMED_OUT = "timed_out"
    """It took longer than the step's `timeout_seconds`. `retry_at` as for `failed`."""
    LOST = "lost"
    """Its worker died. Consumes no attempt of the user's retry policy; three of them fail the step."""
    SKIPPED = "skipped"
    """No edge into the step was taken. With a `retry_at`: people were asked instead whether a policy lets it be carried out."""
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
    SCHEDULE = "schedule"
    EVENT = "event"
    RUN = "run"
    """A step of another run."""
    HOOK = "hook"
    """The end of another run."""
    REPLAY = "replay"


class WaitKind(StrEnum):
    """What a waiting step waits for."""

    TIMER = "timer"
    EVENT = "event"
    APPROVAL = "approval"
    RUN = "run"


class ApprovalStatus(StrEnum):
    """Where a request for approval stands. Only `pending` moves, once."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    """Nobody decided in time; the step's `timeout_action` says what follows."""
    CANCELLED = "cancelled"
    """Its run went on or ended without it."""


class Misfire(StrEnum):
    """What a schedule does about fire times that passed while nothing could fire them."""

    SKIP = "skip"
    ONCE = "once"


class Role(StrEnum):
    """What a user may do on the platform; `app.core.permissions` says in scopes what each role means."""

    ADMIN = "admin"
    """Everything, also giving roles and setting policies. Not: seeing what others own."""
    OPERATOR = "operator"
    """What members may, and running the platform: its state, kill switches, the audit log."""
    MEMBER = "member"
    """Own workflows and run them."""
    VIEWER = "viewer"
    """Read what they are given to see, and decide what they are asked."""


class WebhookAuth(StrEnum):
    """Who may call a workflow's webhook address without being its owner."""

    TOKEN = "token"
    """Whoever has the token that is part of `webhook_url`."""
    SIGNATURE = "signature"
    """Whoever signs the body with the webhook's secret."""
    API_KEY = "api_key"
    """Only who may run the workflow anyway, with an API key or an access token of theirs."""
    OPEN = "open"
    """Anybody who knows the address."""


class WebhookScheme(StrEnum):
    """How the sender of a signed webhook call writes its signature."""

    STANDARD = "standard"
    """Standard Webhooks (standardwebhooks.com)."""
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    HMAC = "hmac"
    """HMAC-SHA256 of the body in one header."""


class ActorKind(StrEnum):
    """Who did what the audit log tells of."""

    USER = "user"
    """An account that had logged in, or somebody who claimed to be one."""
    API_KEY = "api_key"
    """An account, by one of its API keys."""
    LINK = "link"
    """Whoever had a one-time link, in the name of its approver."""
    WEBHOOK = "webhook"
    """A caller of a webhook address."""
    SYSTEM = "system"
    """The platform itself, or an operator at its command line."""


class SwitchScope(StrEnum):
    """What a kill switch stops."""

    ALL = "all"
    TEAM = "team"
    """What a team owns."""
    USER = "user"
    """What a user owns."""
    WORKFLOW = "workflow"
    NODE_TYPE = "node_type"
    """Steps of one type, wherever they stand."""
    CREDENTIAL = "credential"
    """Steps that use one credential."""


class SwitchMode(StrEnum):
    """How a kill switch stops it."""

    DRAIN = "drain"
    """Nothing new starts; what has begun goes on to its end."""
    HALT = "halt"
    """Neither does the next step of what has begun."""
