"""Wire forms of the audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.core.statuses import ActorKind
from app.engine.audit.chain import Reason
from app.models import AuditEntry


class ActorForm(BaseModel):
    """Who did it, as far as it is known."""

    kind: ActorKind
    id: str | None = Field(description="The account's.")
    email: str | None = Field(description="The account's, or the one that they claimed to have.")
    api_key_id: str | None = Field(description="The API key that was used, if any.")
    address: str | None = Field(description="Where the request came from.")


class AuditEntryForm(BaseModel):
    """One thing that was done."""

    seq: int = Field(description="Counts from 1, without a gap.")
    at: datetime = Field(description="By the database's clock.")
    actor: ActorForm
    action: str = Field(description="What was done.", examples=["workflow.deleted"])
    target_kind: str = Field(description="To what kind of thing.", examples=["workflow"])
    target_id: str = Field(description="To which.")
    owner_id: str | None = Field(description="Whose it is: a user or a team; null: the platform's.")
    run_id: str | None = Field(description="The run that it is about, if any.")
    details: dict[str, Any] = Field(description="What else there is to know; never a secret.")
    previous_hash: str = Field(description="Of the entry before.")
    hash: str = Field(description="HMAC-SHA256 over all that stands above but `seq`.")


class BadEntry(BaseModel):
    """The first entry that does not hold."""

    seq: int
    reason: Reason = Field(description="What is wrong with it.")
    detail: str = Field(description="The same as a sentence.")


class AuditVerdict(BaseModel):
    """What a check of the whole log has found."""

    valid: bool = Field(description="Every entry is in its place, as it was written.")
    entries: int = Field(description="How many hold, up to the first that does not.")
    first_bad: BadEntry | None
    anchored_seq: int | None = Field(
        description="The last entry for which an anchor outside the database vouches; null: none was found here."
    )
    checked_at: datetime


def entry_form(row: AuditEntry) -> AuditEntryForm:
    """Return an entry as it is shown."""
    actor = ActorForm(
        kind=row.actor_kind,
        id=row.actor_id,
        email=row.actor_email,
        api_key_id=row.actor_api_key_id,
        address=row.actor_address,
    )
    shared = AuditEntryForm.model_fields.keys() - {"actor"}
    return AuditEntryForm(actor=actor, **row.model_dump(include=set(shared)))
