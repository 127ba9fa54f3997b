"""A second wall between tenants, on Postgres: within a transaction that is confined, row-level security shows only what the
caller may see, whatever a query forgets to ask.

`app.db.walls` says which rows these are.
"""

from collections.abc import Iterable

from sqlalchemy import Engine, text
from sqlmodel import Session

from app.core.logging import get_logger
from app.db.walls import TENANT_ROLE

_CONFINE = text(
    f"SELECT set_config('role', '{TENANT_ROLE}', true), set_config('automateos.owners', :owners, true), "
    "set_config('automateos.email', :email, true)"
)
_RELEASE = text("SELECT set_config('role', 'none', true)")
_MAY_CONFINE = text(
    "SELECT count(*) FROM pg_roles WHERE rolname = :role AND pg_has_role(current_user, oid, 'SET')"
)
_CONFINED = "confined"
log = get_logger(__name__)


class Tenancy:
    """Confines transactions to what somebody may see, where the database can do that."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._possible: bool | None = None if engine.dialect.name == "postgresql" else False

    def confine(self, session: Session, owners: Iterable[str], email: str) -> None:
        """Show the rest of this transaction only what belongs to these owners, or names this address."""
        if self._possible is None:
            self._possible = self._ask(session)
        if self._possible:
            session.execute(_CONFINE, {"owners": ",".join(owners), "email": email})
            session.info[_CONFINED] = True

    def _ask(self, session: Session) -> bool:
        possible = bool(session.execute(_MAY_CONFINE, {"role": TENANT_ROLE}).scalar_one())
        if not possible:
            log.warning(
                "row_level_security_is_off",
                reason=f"this login may not become {TENANT_ROLE}: run the migrations with a role that may create roles, and "
                f"GRANT {TENANT_ROLE} TO this login",
            )
        return possible


def release(session: Session) -> None:
    """End what `confine` has begun, for what the platform itself adds to the transaction."""
    if session.info.pop(_CONFINED, False):
        session.execute(_RELEASE)
