"""Why a control is refused: the state that a run stands in does not allow it."""

from app.core.errors import Conflict


class RunNotPausable(Conflict):
    """Only a queued, running or waiting run can be paused."""

    code = "run_not_pausable"


class RunNotResumable(Conflict):
    """Only a paused run can be resumed."""

    code = "run_not_resumable"


class RunNotCancellable(Conflict):
    """A run that is over cannot be cancelled."""

    code = "run_not_cancellable"


class RunNotRetryable(Conflict):
    """Only a failed run can be retried."""

    code = "run_not_retryable"


class StepNotRetryable(Conflict):
    """Only a failed step can be retried."""

    code = "step_not_retryable"


class RunNotReplayable(Conflict):
    """The run cannot be replayed like this."""

    code = "run_not_replayable"
