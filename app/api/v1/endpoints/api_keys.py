"""API keys: for programs, which cannot log in."""

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
from app.models import ApiKey
from app.schemas.auth import ApiKeyDraft, ApiKeyForm, NewApiKey
from app.schemas.common import Page
from app.services.api_keys import ApiKeys, KeyOrder
from app.services.pages import DEFAULT_LIMIT

router = APIRouter(prefix="/api-keys", tags=["Account"], route_class=GuardedRoute)


async def get_api_keys(container: Services, caller: CurrentCaller, session: OpenSession) -> ApiKeys:
    """Return what the caller may do with the keys of their account."""
    return ApiKeys(session, caller, container.clock.now())


async def key_id_in_path(key_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(key_id, "API key")


UserApiKeys = Annotated[ApiKeys, Depends(get_api_keys)]


@router.post(
    "",
    dependencies=[needs(Scope.ACCOUNT_WRITE)],
    status_code=201,
    summary="Make an API key",
    responses=problems(401, 403, 409, *BODY_PROBLEMS),
)
def create_api_key(draft: ApiKeyDraft, keys: UserApiKeys) -> NewApiKey:
    """Make a key to be sent as `X-API-Key` wherever an access token works. The answer shows it, this once.

    It may do what its `scopes` say, and never more than your role. A key that makes keys makes none wider than itself.
    """
    made, text = keys.create(KeyOrder(draft.name, draft.scopes, draft.expires_at))
    return NewApiKey(**_fields_of(made), key=text)


@router.get(
    "",
    dependencies=[needs(Scope.ACCOUNT_READ)],
    summary="List my API keys",
    responses=problems(401, 422),
)
def list_api_keys(
    keys: UserApiKeys, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ApiKeyForm]:
    """Return my keys, newest first, also those that have expired; never their texts."""
    found, next_cursor = keys.list(limit, cursor)
    return Page(items=[ApiKeyForm(**_fields_of(key)) for key in found], next_cursor=next_cursor)


@router.delete(
    "/{key_id}",
    dependencies=[needs(Scope.ACCOUNT_WRITE)],
    status_code=204,
    summary="Delete an API key",
    responses=problems(401, 404),
)
def delete_api_key(key_id: Annotated[str, Depends(key_id_in_path)], keys: UserApiKeys) -> None:
    """End a key at once, with the keys that were made by it."""
    keys.delete(key_id)


def _fields_of(key: ApiKey) -> dict[str, object]:
    return key.model_dump(exclude={"user_id", "parent_id", "digest"})
