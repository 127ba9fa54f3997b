"""The login that API and workers use: it works in every table and owns none, so it can change no schema and no policy."""

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password
from sqlalchemy.engine import URL

from app.core.errors import ConfigurationError
from app.db.base import database_url
from app.db.walls import ENGINE_ROLE, TENANT_ROLE


def ensure_login(owner_url: str, login_url: str) -> None:
    """Make the login of an address, or give it the address's password; who already owns the tables stays as they are.

    Raises:
        ConfigurationError: the owner may not do that, or the address names no login with a password.
    """
    owner, login = database_url(owner_url), database_url(login_url)
    if login.username == owner.username:
        return
    if not (login.username and login.password):
        raise ConfigurationError(
            "DATABASE_URL must name a user and a password, for MIGRATION_DATABASE_URL makes that login."
        )
    connection = psycopg2.connect(owner.set(drivername="postgresql").render_as_string(False))
    try:
        with connection, connection.cursor() as cursor:
            _ensure(cursor, login)
    except psycopg2.Error as error:
        raise ConfigurationError(
            f"The login {login.username} of DATABASE_URL cannot be made ({str(error).strip()}): let MIGRATION_DATABASE_URL "
            "name a role that may create roles."
        ) from None
    finally:
        connection.close()


def _ensure(cursor: psycopg2.extensions.cursor, login: URL) -> None:
    name = sql.Identifier(str(login.username))
    # The server is sent what it stores, not the password: statements may be logged.
    verifier = encrypt_password(
        str(login.password), str(login.username), cursor.connection, "scram-sha-256"
    )
    cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (login.username,))
    verb = sql.SQL("ALTER" if cursor.rowcount else "CREATE")
    cursor.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD {}").format(
            verb, name, sql.Literal(verifier)
        )
    )
    cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(ENGINE_ROLE), name))
    cursor.execute(
        sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(
            sql.Identifier(TENANT_ROLE), name
        )
    )
