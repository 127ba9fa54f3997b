"""API keys: made by their account, never wider than whoever makes them, shown once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.core.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, Problem
from app.core.ids import new_id
from app.core.permissions import Scope
from app.core.security.shown_once import API_KEY_REFUSED, digest_of, new_api_key
from app.models import ApiKey, User
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.pages import newest_first

MAX_KEYS: Final = 100


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """What a new key is to be."""

    name: str
    scopes: Sequence[Scope]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """What a caller may do with the keys of their account."""

    session: Session
    caller: Caller
    now: datetime

    def create(self, order: KeyOrder) -> tuple[ApiKey, str]:
        """Return a new key, and its text, which is shown this once.

        Raises:
            InvalidInput: it would be wider, or live longer, than who makes it; or it would have expired already.
            Conflict: the account has too many keys.
        """
        self._hold_account()
        maker = self._maker()
        problems = [*self._scope_problems(order), *self._time_problems(order, maker)]
        if problems:
            raise InvalidInput("The API key cannot be made so.", problems)
        self._require_room()
        key_id = new_id()
        text = new_api_key(key_id)
        made = ApiKey(
            id=key_id,
            user_id=self.caller.id,
            parent_id=self.caller.api_key_id,
            name=order.name,
            digest=digest_of(text),
            scopes=sorted(set(order.scopes)),
            created_at=self.now,
            expires_at=order.expires_at,
        )
        self.session.add(made)
        self._record("api_key.created", made)
        return made, text

    def list(self, limit: int, cursor: str | None) -> tuple[Sequence[ApiKey], str | None]:
        """Return a page of the account's keys, newest first, and the next page's cursor."""
        query = select(ApiKey).where(ApiKey.user_id == self.caller.id)
        return newest_first(self.session, query, ApiKey.id, limit, cursor)

    def delete(self, key_id: str) -> None:
        """End a key, and those that were made with it.

        Raises:
            NotFound: it is none of theirs.
        """
        self._hold_account()
        found = self.session.get(ApiKey, key_id)
        if found is None or found.user_id != self.caller.id:
            raise NotFound(f"There is no API key {key_id}, or it is not yours.")
        self.session.delete(found)
        self._record("api_key.deleted", found)

    def _hold_account(self) -> None:
        """Let nobody else change the account's keys, or close it, before the commit.

        Whoever closes it locks the account, then its keys: in another order, the two would wait for each other.
        """
        weakly = {"key_share": True}  # other rows may go on referring to it
        account = self.session.get_one(User, self.caller.id, with_for_update=weakly)
        if not account.active:
            raise NotAuthenticated

    def _scope_problems(self, order: KeyOrder) -> Sequence[Problem]:
        allowed = ", ".join(f"`{scope}`" for scope in sorted(self.caller.scopes))
        whose = "this API key" if self.caller.api_key_id else f"the role `{self.caller.role}`"
        return [
            Problem(
                f"/scopes/{place}",
                "scope_not_allowed",
                f"`{scope}` is more than {whose} has: take some of {allowed}.",
            )
            for place, scope in enumerate(order.scopes)
            if scope not in self.caller.scopes
        ]

    def _time_problems(self, order: KeyOrder, maker: ApiKey | None) -> Sequence[Problem]:
        if order.expires_at is not None and order.expires_at <= self.now:
            return [Problem("/expires_at", "in_the_past", "`expires_at` must lie in the future.")]
        end = maker.expires_at if maker else None
        if end is not None and (order.expires_at is None or order.expires_at > end):
            detail = f"This API key expires at {end:%Y-%m-%dT%H:%M:%SZ}: one that it makes cannot live longer."
            return [Problem("/expires_at", "outlives_its_maker", detail)]
        return []

    def _maker(self) -> ApiKey | None:
        """Return the key that this is asked with, if it is there still: what it makes goes with it."""
        if self.caller.api_key_id is None:
            return None
        maker = self.session.get(ApiKey, self.caller.api_key_id)
        if maker is None:
            raise NotAuthenticated(API_KEY_REFUSED)
        return maker

    def _require_room(self) -> None:
        query = select(func.count(col(ApiKey.id))).where(ApiKey.user_id == self.caller.id)
        if self.session.exec(query).one() >= MAX_KEYS:
            raise Conflict(f"You have {MAX_KEYS} API keys: delete one that is no longer used.")

    def _record(self, action: str, key: ApiKey) -> None:
        details = {"name": key.name, "scopes": list(key.scopes)}
        record(self.session, self.caller, Change(action, "api_key", key.id, key.user_id, details))
