"""Every error that the platform raises on purpose: one root, one class per cause.

    AutomateError
    ├── InvalidInput              the caller's values do not fit (many problems at once)
    │   ├── InvalidDefinition     a workflow definition does not hold
    │   └── MalformedBody         the bytes are no JSON that we accept
    │       ├── BodyTooLarge
    │       │   └── PolicyInputTooLarge
    │       ├── BodyTooSlow
    │       └── UnsupportedMedia
    ├── NotAuthenticated          nobody we know
    ├── PermissionDenied          known, but may not
    ├── NotFound                  absent, or another owner's
    ├── Conflict                  the object's state does not allow it
    │   ├── WorkflowDisabled
    │   ├── Replayed              a signed call that was taken before
    │   └── TooDeep               runs start each other without end
    ├── PreconditionFailed        If-Match names another version
    ├── TooManyRequests
    │   └── PolicyLimitReached    a policy lets no more runs be started now
    ├── PolicyViolation           a policy does not allow what a step does
    ├── Unavailable               a server that we need does not answer
    │   └── KillSwitched          an operator has stopped it
    ├── ConfigurationError        the operator's settings do not hold
    └── ExpressionError           an expression does not parse, or does not evaluate

A docstring is the default sentence; `code` is stable and part of the contract. `app.api.errors` maps classes to HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input: where (JSON pointer), which (stable code), and how to mend it."""

    pointer: str
    code: str
    detail: str


class AutomateError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.detail)


class InvalidInput(AutomateError):
    """The input does not fit; `errors` lists every problem."""

    code = "invalid_input"

    def __init__(self, detail: str | None = None, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.problems = tuple(problems)


class InvalidDefinition(InvalidInput):
    """The workflow definition does not hold; `errors` lists every problem."""

    code = "invalid_definition"


class MalformedBody(InvalidInput):
    """The request body is not valid JSON."""

    code = "malformed_body"


class BodyTooLarge(MalformedBody):
    """The request body is too large."""

    code = "body_too_large"


class PolicyInputTooLarge(BodyTooLarge):
    """The input is larger than a policy allows."""

    code = "policy_violation"


class BodyTooSlow(MalformedBody):
    """The request body did not arrive in time: send it again."""

    code = "request_timeout"


class UnsupportedMedia(MalformedBody):
    """The content type is not supported here."""

    code = "unsupported_media_type"


class NotAuthenticated(AutomateError):
    """Valid credentials are needed: log in and send `Authorization: Bearer <access_token>`."""

    code = "not_authenticated"


class PermissionDenied(AutomateError):
    """You may not do this."""

    code = "permission_denied"


class NotFound(AutomateError):
    """There is nothing here, or it is not yours."""

    code = "not_found"


class Conflict(AutomateError):
    """The current state does not allow this."""

    code = "conflict"


class WorkflowDisabled(Conflict):
    """The workflow is disabled: enable it with PATCH `{"enabled": true}` before starting runs."""

    code = "workflow_disabled"


class Replayed(Conflict):
    """This call was taken before, under another id or with another body: it starts nothing."""

    code = "replayed"


class TooDeep(Conflict):
    """Runs have started each other too many times in a row: does a workflow call its own webhook without end?"""

    code = "too_deep"


class PreconditionFailed(AutomateError):
    """The object has changed since you read it: read it again and repeat with its new ETag."""

    code = "precondition_failed"


class TooManyRequests(AutomateError):
    """Too many requests: wait, then try again."""

    code = "too_many_requests"

    def __init__(self, detail: str | None = None, retry_after_seconds: int = 60) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class PolicyLimitReached(TooManyRequests):
    """A policy lets no more runs be started now."""

    code = "policy_violation"


class PolicyViolation(AutomateError):
    """A policy does not allow this."""

    code = "policy_violation"


class Unavailable(AutomateError):
    """A server that this needs does not answer right now: try again shortly."""

    code = "unavailable"
    retry_after_seconds = 2


class KillSwitched(Unavailable):
    """An operator has stopped this with a kill switch: try again later."""

    code = "kill_switch"

    def __init__(self, detail: str | None = None, retry_after_seconds: int = 60) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class ConfigurationError(AutomateError):
    """A setting does not hold."""

    code = "configuration_error"


class ExpressionError(AutomateError):
    """The expression cannot be used."""

    code = "expression_error"
