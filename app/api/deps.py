"""What endpoints ask for: the caller, a session, parameters that are checked once for all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, Header, Query, Request
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from sqlmodel import Session

from app.api.container import Container, container_of
from app.api.rates import count_call, count_proof
from app.api.turns import DatabaseTurn
from app.core.errors import NotAuthenticated, NotFound, PreconditionFailed
from app.core.ids import parse_id
from app.core.permissions import Scope
from app.core.security.shown_once import read_api_key
from app.core.security.tokens import read_token
from app.db.session import transaction
from app.engine.delivery.dispatch import BackgroundDispatch
from app.services.approvals import ApprovalLinks, Approvals, HandOn
from app.services.authentication import Proof
from app.services.callers import Caller
from app.services.pages import DEFAULT_LIMIT, MAX_LIMIT
from app.services.rate_limits import Counted
from app.services.runs import Runs
from app.services.workflows import Workflows

LOGIN_PATH = "/api/v1/login"
API_KEY_HEADER = "X-API-Key"
MAX_CURSOR = 2048
IF_MATCH = r'^(\*|(W/)?"[0-9]{1,9}"(, ?(W/)?"[0-9]{1,9}")*)$'
bearer = OAuth2PasswordBearer(
    tokenUrl=LOGIN_PATH,
    auto_error=False,
    description="Log in with your e-mail address and password; the token then goes along as `Authorization: Bearer …`.",
)
api_key = APIKeyHeader(
    name=API_KEY_HEADER,
    scheme_name="ApiKey",
    auto_error=False,
    description="Instead of an access token: a key of `POST /api/v1/api-keys`, which may do what its scopes say.",
)


async def get_container(request: Request) -> Container:
    """Return what the application is served with."""
    return container_of(request)


Services = Annotated[Container, Depends(get_container)]
"""For endpoints. What other dependencies depend on asks for the request itself: FastAPI keeps, and walks through, every route's
whole tree of dependencies, in which this one would stand ten times."""


async def current_proof(
    request: Request,
    token: Annotated[str | None, Depends(bearer)],
    key: Annotated[str | None, Depends(api_key)],
) -> Proof:
    """Return what the caller shows: an access token, or else an API key, which is not looked up yet.

    Raises:
        NotAuthenticated: there is none, or it does not hold.
        TooManyRequests: the account, or the key, has called too often.
    """
    container = container_of(request)
    if token is not None:
        proof: Proof = read_token(container.key, token, container.clock.now())
    elif key is not None:
        proof = read_api_key(key)
    else:
        raise NotAuthenticated
    count_proof(request.scope, proof)
    return proof


def current_caller(
    request: Request, proof: Annotated[Proof, Depends(current_proof)], _: DatabaseTurn
) -> Caller:
    """Return who is calling, as their account and their teams are now.

    Raises:
        NotAuthenticated: the account is gone or closed, or has ended this token, session or key.
        TooManyRequests: the account has called too often, with all of its API keys.
    """
    container = container_of(request)
    caller = container.callers.find(proof, container.clock.now(), address_of(request))
    if caller.api_key_id is not None:
        count_call(request.scope, Counted.USER, caller.id)
    return caller


def address_of(request: Request) -> str:
    """Return where a request came from; behind a trusted proxy, what that says."""
    return request.client.host if request.client else "unknown"


@dataclass(frozen=True, slots=True)
class Needs:
    """Lets a request pass whose caller may do such a thing. Every route that is not public depends on one."""

    scope: Scope

    async def __call__(self, caller: Annotated[Caller, Depends(current_caller)]) -> None:
        """Do nothing when the caller may.

        Raises:
            PermissionDenied: they may not.
        """
        caller.require(self.scope)


@dataclass(frozen=True, slots=True)
class NeedsAtDesk:
    """Says what a caller needs of whom only a token or key is known so far: the desk that takes the request reads the account."""

    scope: Scope

    async def __call__(self, proof: Annotated[Proof, Depends(current_proof)]) -> None:
        """Refuse whoever shows nothing."""


def needs(scope: Scope) -> Any:
    """Return what a route, or a router, declares to ask for a scope."""
    return Depends(Needs(scope))


def needs_at_desk(scope: Scope) -> Any:
    """Return what a route declares when the desk that takes its requests asks for the scope."""
    return Depends(NeedsAtDesk(scope))


def get_session(request: Request, _: DatabaseTurn) -> Iterator[Session]:
    """Yield a session that is committed before the answer is sent."""
    with transaction(container_of(request).engine) as session:
        yield session


CurrentProof = Annotated[Proof, Depends(current_proof)]
CurrentCaller = Annotated[Caller, Depends(current_caller)]
OpenSession = Annotated[Session, Depends(get_session, scope="function")]


def get_tenant_session(request: Request, caller: CurrentCaller, session: OpenSession) -> Session:
    """Return the request's session, confined to what the caller may see: a query that forgets to ask whose finds nothing."""
    container_of(request).tenancy.confine(session, caller.owners, caller.email)
    return session


TenantSession = Annotated[Session, Depends(get_tenant_session, scope="function")]


async def get_workflows(
    container: Services, caller: CurrentCaller, session: TenantSession
) -> Workflows:
    """Return what the caller may do with their workflows."""
    return Workflows(
        session, caller, container.catalogue, container.clock, container.webhook_secrets
    )


async def get_runs(caller: CurrentCaller, session: TenantSession) -> Runs:
    """Return what the caller may read of their runs."""
    return Runs(session, caller)


async def get_hand_on(container: Services, background: BackgroundTasks) -> HandOn:
    """Return what hands runs on to workers, once the session is committed and the answer sent."""

    def hand_on(run_ids: Sequence[str]) -> None:
        background.add_task(_dispatch, container.dispatch, run_ids)

    return hand_on


async def _dispatch(dispatch: BackgroundDispatch, run_ids: Sequence[str]) -> None:
    for run_id in run_ids:
        dispatch.put(run_id)


HandsOn = Annotated[HandOn, Depends(get_hand_on)]


async def get_approvals(caller: CurrentCaller, session: OpenSession, hand_on: HandsOn) -> Approvals:
    """Return what the caller is asked, and may ask others."""
    return Approvals(session, caller, hand_on)


async def get_approval_links(
    request: Request, session: OpenSession, hand_on: HandsOn
) -> ApprovalLinks:
    """Return what whoever has a one-time link may see and decide."""
    return ApprovalLinks(session, hand_on, address_of(request))


async def approval_id_in_path(approval_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(approval_id, "approval")


async def workflow_id_in_path(workflow_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(workflow_id, "workflow")


async def run_id_in_path(run_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(run_id, "run")


async def if_match(
    header: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description='The `ETag` that you read, such as `"3"`: the change is refused (412) when somebody else was faster.',
            max_length=1024,
            json_schema_extra={"pattern": IF_MATCH},
        ),
    ] = None,
) -> frozenset[int] | None:
    """Return the revisions that the caller accepts; None accepts any.

    Raises:
        PreconditionFailed: no ETag that we could have given.
    """
    if header is None or header.strip() == "*":
        return None
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
    revisions = frozenset(int(tag) for tag in tags if tag.isascii() and tag.isdigit())
    if not revisions:
        raise PreconditionFailed
    return revisions


async def idempotency_key(request: Request) -> str | None:
    """Return the `Idempotency-Key`, or `webhook-id`, of a request."""
    return request.headers.get("idempotency-key", request.headers.get("webhook-id"))


def object_id(text: str, what: str) -> str:
    """Return the id in an address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    found = parse_id(text)
    if found is None:
        raise NotFound(f"There is no {what} {text[:40]}, or it is not yours.")
    return found


UserWorkflows = Annotated[Workflows, Depends(get_workflows)]
UserRuns = Annotated[Runs, Depends(get_runs)]
WorkflowId = Annotated[str, Depends(workflow_id_in_path)]
RunId = Annotated[str, Depends(run_id_in_path)]
UserApprovals = Annotated[Approvals, Depends(get_approvals)]
OpenLinks = Annotated[ApprovalLinks, Depends(get_approval_links)]
ApprovalId = Annotated[str, Depends(approval_id_in_path)]
IfMatch = Annotated[frozenset[int] | None, Depends(if_match)]
IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
Limit = Annotated[
    int, Query(ge=1, le=MAX_LIMIT, description=f"Most items to return; {DEFAULT_LIMIT} if unset.")
]
Cursor = Annotated[
    str | None,
    Query(
        max_length=MAX_CURSOR,
        description="`next_cursor` of the page before.",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},
    ),
]
