"""For administrators: accounts, and invitations to make one."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    Cursor,
    Limit,
    OpenSession,
    Services,
    needs,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.permissions import Scope
from app.models import Invitation, User
from app.schemas.common import Page
from app.schemas.people import (
    InvitationDraft,
    InvitationForm,
    NewInvitation,
    Person,
    PersonChanges,
)
from app.services.invitations import Invitations, Offer
from app.services.pages import DEFAULT_LIMIT
from app.services.user_admin import UserAdmin

router = APIRouter(prefix="/admin", tags=["Operators"], route_class=GuardedRoute)


async def get_user_admin(caller: CurrentCaller, session: OpenSession) -> UserAdmin:
    """Return what the caller may do with accounts."""
    return UserAdmin(session, caller)


async def get_invitations(
    container: Services, caller: CurrentCaller, session: OpenSession
) -> Invitations:
    """Return what the caller may do with invitations."""
    return Invitations(session, caller, container.clock.now())


async def user_id_in_path(user_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(user_id, "account")


async def invitation_id_in_path(invitation_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(invitation_id, "invitation")


Accounts = Annotated[UserAdmin, Depends(get_user_admin)]
OpenInvitations = Annotated[Invitations, Depends(get_invitations)]


@router.get(
    "/users",
    dependencies=[needs(Scope.USERS_READ)],
    summary="List all accounts",
    responses=problems(401, 403, 422),
)
def list_users(
    accounts: Accounts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Person]:
    """Return all accounts, newest first."""
    found, next_cursor = accounts.list(limit, cursor)
    return Page(items=[_person(user) for user in found], next_cursor=next_cursor)


@router.patch(
    "/users/{user_id}",
    dependencies=[needs(Scope.USERS_WRITE)],
    summary="Give a role, close or open an account",
    responses=problems(401, 403, 404, 409, *BODY_PROBLEMS),
)
def change_user(
    user_id: Annotated[str, Depends(user_id_in_path)],
    changes: PersonChanges,
    accounts: Accounts,
) -> Person:
    """Change an account; it counts from the next request on.

    `active: false` closes it: its tokens, sessions and API keys end for good, its workflows go on. The last active
    administrator can neither be closed nor get another role (409).
    """
    return _person(accounts.change(user_id, changes.role, changes.active))


@router.post(
    "/invitations",
    dependencies=[needs(Scope.USERS_WRITE)],
    status_code=201,
    summary="Invite somebody",
    responses=problems(401, 403, *BODY_PROBLEMS),
)
def create_invitation(draft: InvitationDraft, invitations: OpenInvitations) -> NewInvitation:
    """Make a token with which one account can be made, also while registration is closed. Hand it on yourself: nothing is sent.

    It goes as `invitation` into `POST /api/v1/register`. The answer shows it, this once.
    """
    life = timedelta(seconds=draft.expires_in_seconds)
    made, token = invitations.create(Offer(draft.email, draft.role, life))
    return NewInvitation(**_fields_of(made), token=token)


@router.get(
    "/invitations",
    dependencies=[needs(Scope.USERS_READ)],
    summary="List open invitations",
    responses=problems(401, 403, 422),
)
def list_invitations(
    invitations: OpenInvitations, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[InvitationForm]:
    """Return the invitations that can still be accepted, newest first; never their tokens."""
    found, next_cursor = invitations.list(limit, cursor)
    forms = [InvitationForm(**_fields_of(one)) for one in found]
    return Page(items=forms, next_cursor=next_cursor)


@router.delete(
    "/invitations/{invitation_id}",
    dependencies=[needs(Scope.USERS_WRITE)],
    status_code=204,
    summary="Withdraw an invitation",
    responses=problems(401, 403, 404),
)
def withdraw_invitation(
    invitation_id: Annotated[str, Depends(invitation_id_in_path)], invitations: OpenInvitations
) -> None:
    """Withdraw an invitation: its token counts no more."""
    invitations.withdraw(invitation_id)


def _person(user: User) -> Person:
    return Person(**user.model_dump(include={"id", "email", "role", "active", "created_at"}))


def _fields_of(made: Invitation) -> dict[str, object]:
    return made.model_dump(exclude={"digest"})
