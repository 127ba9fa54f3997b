"""What endpoints ask for: the caller, a session, parameters that are checked once for all."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import BackgroundTasks, Depends, Header, Query, Request
from fastapi.security import OAuth2PasswordBearer
from sqlmodel import Session

from app.api.container import Container, container_of
from app.core.errors import NotAuthenticated, NotFound, PermissionDenied, PreconditionFailed
from app.core.ids import parse_id
from app.core.security.tokens import TokenClaims, read_token
from app.core.statuses import Role
from app.db.session import transaction
from app.engine.delivery.dispatch import BackgroundDispatch
from app.models import User
from app.services.approvals import ApprovalLinks, Approvals, HandOn
from app.services.pages import DEFAULT_LIMIT, MAX_LIMIT
from app.services.runs import Runs
from app.services.users import authenticate
from app.services.workflows import Workflows

LOGIN_PATH = "/api/v1/login"
MAX_CURSOR = 2048
bearer = OAuth2PasswordBearer(
    tokenUrl=LOGIN_PATH,
    auto_error=False,
    description="Log in with your e-mail address and password; the token then goes along as `Authorization: Bearer …`.",
)


async def get_container(request: Request) -> Container:
    """Return what the application is served with."""
    return container_of(request)


Services = Annotated[Container, Depends(get_container)]


async def current_claims(
    container: Services, token: Annotated[str | None, Depends(bearer)]
) -> TokenClaims:
    """Return what the caller's token says.

    Raises:
        NotAuthenticated: there is none, or it does not hold.
    """
    if token is None:
        raise NotAuthenticated
    return read_token(container.key, token, container.clock.now())


def current_user(
    container: Services, claims: Annotated[TokenClaims, Depends(current_claims)]
) -> User:
    """Return the caller's account, read in a transaction of its own.

    Raises:
        NotAuthenticated: the account is gone, or has ended its older tokens.
    """
    return authenticate(container.engine, claims)


def current_admin(user: Annotated[User, Depends(current_user)]) -> User:
    """Return the caller's account, if it runs the platform.

    Raises:
        PermissionDenied: it does not.
    """
    if user.role is not Role.ADMIN:
        raise PermissionDenied("This is for administrators: ask one, or let one change your role.")
    return user


def get_session(container: Services) -> Iterator[Session]:
    """Yield a session that is committed before the answer is sent."""
    with transaction(container.engine) as session:
        yield session


CurrentClaims = Annotated[TokenClaims, Depends(current_claims)]
CurrentUser = Annotated[User, Depends(current_user)]
OpenSession = Annotated[Session, Depends(get_session, scope="function")]


async def get_workflows(container: Services, user: CurrentUser, session: OpenSession) -> Workflows:
    """Return what the caller may do with their workflows."""
    return Workflows(session, user, container.catalogue, container.clock)


async def get_runs(user: CurrentUser, session: OpenSession) -> Runs:
    """Return what the caller may read of their runs."""
    return Runs(session, user)


async def get_hand_on(container: Services, background: BackgroundTasks) -> HandOn:
    """Return what hands runs on to workers, once the session is committed and the answer sent."""

    def hand_on(run_ids: Sequence[str]) -> None:
        background.add_task(_dispatch, container.dispatch, run_ids)

    return hand_on


async def _dispatch(dispatch: BackgroundDispatch, run_ids: Sequence[str]) -> None:
    for run_id in run_ids:
        dispatch.put(run_id)


HandsOn = Annotated[HandOn, Depends(get_hand_on)]


async def get_approvals(user: CurrentUser, session: OpenSession, hand_on: HandsOn) -> Approvals:
    """Return what the caller is asked, and may ask others."""
    return Approvals(session, user, hand_on)


async def get_approval_links(session: OpenSession, hand_on: HandsOn) -> ApprovalLinks:
    """Return what whoever has a one-time link may see and decide."""
    return ApprovalLinks(session, hand_on)


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
    str | None, Query(max_length=MAX_CURSOR, description="`next_cursor` of the page before.")
]
