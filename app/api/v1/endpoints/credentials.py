"""The vault: what workflows may use, and nobody reads."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    Cursor,
    IfMatch,
    Limit,
    Services,
    TenantSession,
    needs,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.permissions import Scope
from app.schemas.common import Page
from app.schemas.credential import CredentialChanges, CredentialDraft, CredentialForm
from app.services.credentials import Credentials
from app.services.pages import DEFAULT_LIMIT

router = APIRouter(prefix="/credentials", tags=["Credentials"], route_class=GuardedRoute)


async def get_credentials(
    container: Services, caller: CurrentCaller, session: TenantSession
) -> Credentials:
    """Return what the caller may do with their credentials."""
    return Credentials(session, caller, container.catalogue, container.keys, container.clock)


async def credential_id_in_path(credential_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(credential_id, "credential")


UserCredentials = Annotated[Credentials, Depends(get_credentials)]
CredentialId = Annotated[str, Depends(credential_id_in_path)]
Force = Annotated[bool, Query(description="Delete it although enabled workflows use it.")]


@router.post(
    "",
    dependencies=[needs(Scope.CREDENTIALS_WRITE)],
    status_code=201,
    summary="Keep a credential",
    responses=problems(401, 403, 404, 409, *BODY_PROBLEMS),
)
def create_credential(
    draft: CredentialDraft, credentials: UserCredentials, response: Response
) -> CredentialForm:
    """Keep a credential, encrypted. Workflows of its owner name it as `"credential": "name"` or `${{ secrets.name }}`."""
    saved = credentials.create(draft)
    response.headers["Location"] = f"/api/v1/credentials/{saved.id}"
    return _tagged(saved, response)


@router.get(
    "",
    dependencies=[needs(Scope.CREDENTIALS_READ)],
    summary="List my credentials",
    responses=problems(401, 422),
)
def list_credentials(
    credentials: UserCredentials, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[CredentialForm]:
    """Return my credentials and those of my teams, newest first, without what they hold."""
    found, next_cursor = credentials.list(limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/{credential_id}",
    dependencies=[needs(Scope.CREDENTIALS_READ)],
    summary="Read a credential",
    responses=problems(401, 404),
)
def read_credential(
    credential_id: CredentialId, credentials: UserCredentials, response: Response
) -> CredentialForm:
    """Return a credential without what it holds; `ETag` goes into `If-Match` of a change."""
    return _tagged(credentials.get(credential_id), response)


@router.put(
    "/{credential_id}",
    dependencies=[needs(Scope.CREDENTIALS_WRITE)],
    summary="Change a credential",
    responses=problems(401, 403, 404, 409, 412, *BODY_PROBLEMS),
)
def change_credential(
    credential_id: CredentialId,
    changes: CredentialChanges,
    credentials: UserCredentials,
    response: Response,
    if_match: IfMatch,
) -> CredentialForm:
    """Save a credential as it is to be; attempts that begin two seconds later use it so.

    Without `data` it keeps what it holds; to allow more hosts, what it holds has to be given again.
    """
    return _tagged(credentials.change(credential_id, changes, if_match), response)


@router.delete(
    "/{credential_id}",
    dependencies=[needs(Scope.CREDENTIALS_WRITE)],
    status_code=204,
    summary="Delete a credential",
    responses=problems(401, 403, 404, 409, 422),
)
def delete_credential(
    credential_id: CredentialId, credentials: UserCredentials, force: Force = False
) -> None:
    """Forget a credential. Refused while enabled workflows use it, unless by `force`: their steps then fail."""
    credentials.delete(credential_id, force=force)


def _tagged(form: CredentialForm, response: Response) -> CredentialForm:
    response.headers["ETag"] = f'"{form.revision}"'
    return form
