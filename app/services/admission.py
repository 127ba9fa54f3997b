"""Whether a trigger may start a run: pure decisions on what was read. Nothing here touches the world."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from app.core.errors import (
    AutomateError,
    InvalidInput,
    KillSwitched,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    Problem,
    TooDeep,
    WorkflowDisabled,
)
from app.core.permissions import Scope, TeamRole
from app.core.security.webhook_signatures import SIGNATURE_HEADERS
from app.core.security.webhook_tokens import WEBHOOK_TOKEN_HEADER
from app.core.statuses import TriggerKind
from app.engine.children.targets import MAX_DEPTH
from app.engine.evidence.run_context import merged_context, missing_fields
from app.engine.intake import NewRun, SignedDelivery
from app.engine.language.expressions import ExpressionFault, compile_expression
from app.engine.language.expressions.faults import UnknownPath
from app.services.access import refusal
from app.services.authentication import Proof, refusal_of
from app.services.callers import Caller
from app.services.idempotency_keys import MAX_KEY_CHARACTERS, require_usable
from app.services.webhook_auth import Gate, WebhookCall, WebhookRules, let_in

WITHHELD_HEADERS = SIGNATURE_HEADERS | {
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
    WEBHOOK_TOKEN_HEADER,
}
"""Never shown to expressions, which may put what they read into the database."""
EXACT_INTEGERS = 2.0**53
MAX_KEY_STEPS = 2_000
"""How much work a `dedupe.key` may be: it is evaluated in the commit that other triggers wait for."""


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """What a caller asks for. `validated_for` is set by the desk once the input was checked for that version."""

    workflow_id: str
    kind: TriggerKind
    caller: Proof | None
    token: str | None
    input: Any
    idempotency_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    validated_for: str | None = None
    context: Mapping[str, Any] | None = None
    body: bytes = b""
    """The input as it was sent."""
    fault: AutomateError | None = None
    """Why the body cannot be the input. Only whoever may call is told."""
    address: str | None = None
    """Where the request came from."""
    depth: int = 0
    """How many runs have started each other up to this call, as it tells itself."""


@dataclass(frozen=True, slots=True)
class TriggerAnswer:
    """The run that a trigger has started, or the earlier one that has its key."""

    run_id: str
    status: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What admission must know of a workflow, as it is in this transaction."""

    workflow_id: str
    owner_id: str
    version_id: str | None
    version: int | None
    enabled: bool
    webhook: WebhookRules
    dedupe_key: str | None
    inputs: Mapping[str, Any] | None
    context_rules: Mapping[str, Any] | None = None
    dedupe_by_input: bool = False
    key_ttl_seconds: int | None = None
    stopped: KillSwitched | None = None
    """Why nothing of it may start, whoever asks."""


def admit(
    request: TriggerRequest,
    target: Target | None,
    caller: Caller | None,
    role: TeamRole | None,
    gate: Gate,
) -> NewRun:
    """Return the run to be made. `caller` is who calls, if their access token or API key still counts; `role` theirs here.

    Raises:
        NotFound: no such workflow or version, or another owner's.
        NotAuthenticated: neither somebody who may run it, nor whom the webhook lets in.
        PermissionDenied: they may see the workflow, but not run it; or their role or key may start nothing at all.
        TooDeep: it is a run's own call, of a row of runs that has grown too long.
        WorkflowDisabled: the owner has switched it off.
        KillSwitched: an operator has stopped it.
        InvalidInput: the body or the idempotency key cannot be used, or the context lacks what the workflow requires.
    """
    if request.kind is TriggerKind.MANUAL:
        _require_scope(request, caller)
    if target is None:
        raise NotFound("There is no such workflow, or it is not yours.")
    delivery = _authorise(request, target, caller, role, gate)
    if request.fault is not None:
        raise request.fault
    if request.depth > MAX_DEPTH:
        raise TooDeep
    if not target.enabled:
        raise WorkflowDisabled
    if target.stopped is not None:
        raise target.stopped
    if target.version_id is None or target.version is None:
        raise NotFound(f"The workflow has no version {request.version}.")
    return NewRun(
        owner_id=target.owner_id,
        workflow_id=target.workflow_id,
        version_id=target.version_id,
        version=target.version,
        trigger=request.kind,
        input=request.input,
        idempotency_key=_key(request, target),
        context=_context(request, target.context_rules),
        started_by=caller.email if caller is not None and _may_run(role) else None,
        input_hash=_hash(request.input) if target.dedupe_by_input else None,
        key_ttl_seconds=target.key_ttl_seconds,
        delivery=delivery,
        depth=request.depth,
    )


def _context(request: TriggerRequest, rules: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    context = merged_context(rules, request.context)
    missing = missing_fields(rules, context)
    if not missing:
        return context
    if request.kind is TriggerKind.MANUAL:
        how = "send it in `context`"
    else:
        how = "set the workflow's `context.defaults`, or start it by POST /api/v1/workflows/{workflow_id}/runs"
    problems = [
        Problem(f"/context/{name}", "missing_context", f"The workflow requires `{name}`: {how}.")
        for name in missing
    ]
    raise InvalidInput("The run's context lacks what the workflow requires.", problems)


def _require_scope(request: TriggerRequest, caller: Caller | None) -> None:
    if caller is None:
        raise refusal_of(request.caller) if request.caller else NotAuthenticated()
    caller.require(Scope.RUNS_WRITE)


def _authorise(
    request: TriggerRequest,
    target: Target,
    caller: Caller | None,
    role: TeamRole | None,
    gate: Gate,
) -> SignedDelivery | None:
    if caller is not None and _may_run(role) and Scope.RUNS_WRITE in caller.scopes:
        return None
    if request.kind is TriggerKind.MANUAL:
        raise _refused(role)
    call = WebhookCall(request.token, request.headers, request.body, request.address)
    try:
        kept = max(gate.key_ttl_seconds, target.key_ttl_seconds or 0)
        return let_in(call, target.webhook, replace(gate, key_ttl_seconds=kept))
    except NotAuthenticated:
        if caller is None or request.token is not None:
            raise
    if _may_run(role):
        caller.require(Scope.RUNS_WRITE)
    raise _refused(role)


def _refused(role: TeamRole | None) -> NotFound | PermissionDenied:
    if role is None:
        return NotFound("There is no such workflow, or it is not yours.")
    return PermissionDenied(refusal(TeamRole.RUNNER, role, "its owner"))


def _may_run(role: TeamRole | None) -> bool:
    return role is not None and role.includes(TeamRole.RUNNER)


def _key(request: TriggerRequest, target: Target) -> str | None:
    """Return the key that makes a repeated trigger the same run; None never swallows a trigger."""
    if request.idempotency_key is not None:
        require_usable(request.idempotency_key)
        return f"key:{request.idempotency_key}"
    if target.dedupe_key is None:
        return None
    withheld = WITHHELD_HEADERS | {(target.webhook.header or "").lower()}
    headers = {name: text for name, text in request.headers.items() if name not in withheld}
    try:
        value = compile_expression(target.dedupe_key).evaluate(
            {"input": request.input, "headers": headers}, MAX_KEY_STEPS
        )
    except UnknownPath:
        return None
    except ExpressionFault as fault:
        detail = f"The workflow's dedupe.key does not fit this input: {fault.detail}"
        raise InvalidInput(detail, [Problem("", fault.code, detail)]) from None
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return f"dedupe:{_shortened(value)}"
    return f"dedupe-json:{_shortened(_canonical(value).decode())}"


def _hash(value: Any) -> str:
    """Return the SHA-256 of an input: equal ones have equal hashes, whatever the order of their keys."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    return orjson.dumps(_normal(value), option=orjson.OPT_SORT_KEYS)


def _normal(value: Any) -> Any:
    """Return a value in which equal numbers look alike: JSON does not tell 1.0 from 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_INTEGERS:
        return int(value)
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, dict):
        return {name: _normal(item) for name, item in value.items()}
    return value


def _shortened(text: str) -> str:
    if len(text) <= MAX_KEY_CHARACTERS:
        return text
    return hashlib.sha256(text.encode()).hexdigest()
