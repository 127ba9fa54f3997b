"""Row-level security on Postgres: which rows a tenant sees of each table. Built anew after each migration.

Two roles without login: `automateos_engine` sees every row, for workers, triggers and duties work across tenants;
`automateos_tenant` sees those of the owners and of the e-mail address that the transaction names (`app.db.tenancy`). The walls
hold for the owner of the tables too (FORCE), who is a member of the first.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import Connection, text

from app.core.logging import get_logger

ENGINE_ROLE: Final = "automateos_engine"
TENANT_ROLE: Final = "automateos_tenant"
# In subqueries that depend on no row, Postgres works these lists out once for each query, not for each row.
_MY_IDS = "(SELECT automateos_owners())::uuid[]"
_SHARED_IDS = "ARRAY(SELECT s.workflow_id FROM workflow_shares s)"
_MINE = f"owner_id = ANY ({_MY_IDS})"
_OF_MY_WORKFLOW = "EXISTS (SELECT FROM workflows w WHERE w.id = workflow_id)"
_OF_MY_RUN = "EXISTS (SELECT FROM runs r WHERE r.id = run_id)"
_OF_MY_APPROVAL = "EXISTS (SELECT FROM approvals a WHERE a.id = approval_id)"
_NAMES_ME = "(context -> 'legal_basis' -> 'authorized_users')::jsonb ? current_setting('automateos.email', true)"
READABLE: Final[Mapping[str, str]] = {
    "team_members": f"team_id = ANY ({_MY_IDS})",
    "workflow_shares": f"grantee_id = ANY ({_MY_IDS})",
    "workflows": f"{_MINE} OR id = ANY ({_SHARED_IDS})",
    "workflow_versions": _OF_MY_WORKFLOW,
    "schedules": _OF_MY_WORKFLOW,
    "runs": f"{_MINE} OR workflow_id = ANY ({_SHARED_IDS}) OR {_NAMES_ME} OR {_OF_MY_WORKFLOW}",
    "steps": _OF_MY_RUN,
    "run_logs": _OF_MY_RUN,
    "evidence": _OF_MY_RUN,
    "hook_calls": _OF_MY_RUN,
    "approvals": f"{_MINE} OR {_OF_MY_RUN}",
    "approval_decisions": _OF_MY_APPROVAL,
    "events": _MINE,
    "credentials": _MINE,
    "audit_log": f"{_MINE} OR actor_id = ANY ({_MY_IDS})",
}
"""What a tenant sees of each table. What a subquery reads is held to the policy of its own table."""
WRITABLE: Final = ("workflows", "workflow_versions", "schedules", "credentials")
"""Where a tenant also writes, within what they see."""
COLUMNS: Final[Mapping[str, str]] = {
    "policies": "level, target_id, revision, rules, updated_at, updated_by",
    "users": "id, email, role",
    "teams": "id, name, created_by, created_at, deleted_at, deleted_by",
    "team_names": "name, team_id",
}
"""Of tables that are everybody's, the columns that a tenant may read."""
HELD: Final[Mapping[str, str]] = {"teams": "created_at", "users": "created_at"}
"""Rows that a tenant holds, so that nobody else changes them or counts what they have meanwhile: Postgres asks for the right to write some column of them."""
_MAKE_ROLE = """
DO $$ BEGIN
    CREATE ROLE {role} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$
"""
# Who creates roles without being superuser is their administrator, but not yet a member.
_JOIN_ROLES = f"""
DO $$ BEGIN
    EXECUTE format('GRANT {ENGINE_ROLE} TO %I', current_user);
    EXECUTE format('GRANT {TENANT_ROLE} TO %I WITH INHERIT FALSE, SET TRUE', current_user);
EXCEPTION WHEN insufficient_privilege OR unique_violation THEN NULL;
END $$
"""
_OWNERS = """
CREATE OR REPLACE FUNCTION automateos_owners() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT string_to_array(current_setting('automateos.owners', true), ',')::uuid[] $$
"""
_ROLES_EXIST = (
    "SELECT count(*) = 2 FROM pg_roles WHERE rolname IN ('automateos_engine', 'automateos_tenant')"
)
_WALLS = "SELECT DISTINCT tablename FROM pg_policies WHERE policyname = 'tenant'"
log = get_logger(__name__)


def build_walls(connection: Connection) -> None:
    """Build every wall, or build it anew; where no roles can be made, say so and do without."""
    if connection.dialect.name != "postgresql":
        return
    _run(connection, (_MAKE_ROLE.format(role=role) for role in (ENGINE_ROLE, TENANT_ROLE)))
    if not connection.exec_driver_sql(_ROLES_EXIST).scalar_one():
        log.warning(
            "row_level_security_is_off",
            reason=f"this login may create no roles: let an administrator create {ENGINE_ROLE} and {TENANT_ROLE}, both NOLOGIN, "
            "grant them to this login, and migrate once more",
        )
        return
    _run(connection, (_JOIN_ROLES, _OWNERS, *_engine_grants()))
    for table, condition in READABLE.items():
        _run(connection, _wall(table, condition))
    _run(connection, (f"GRANT INSERT, UPDATE, DELETE ON {it} TO {TENANT_ROLE}" for it in WRITABLE))
    _run(
        connection,
        (f"GRANT SELECT ({names}) ON {table} TO {TENANT_ROLE}" for table, names in COLUMNS.items()),
    )
    _run(
        connection,
        (f"GRANT UPDATE ({name}) ON {table} TO {TENANT_ROLE}" for table, name in HELD.items()),
    )


def tear_down_walls(connection: Connection) -> None:
    """Take down what refers to tables and columns, so that they can be changed."""
    if connection.dialect.name != "postgresql":
        return
    standing = connection.exec_driver_sql(_WALLS).scalars().all()
    for table in standing:
        _run(connection, _no_wall(table))


def _engine_grants() -> Iterable[str]:
    rights = "SELECT, INSERT, UPDATE, DELETE"
    yield f"GRANT USAGE ON SCHEMA public TO {ENGINE_ROLE}, {TENANT_ROLE}"
    yield f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {ENGINE_ROLE}"
    yield f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {ENGINE_ROLE}"
    yield f"REVOKE UPDATE, DELETE ON audit_log FROM {ENGINE_ROLE}"


def _wall(table: str, condition: str) -> Iterable[str]:
    yield from _no_wall(table)
    yield f"GRANT SELECT ON {table} TO {TENANT_ROLE}"
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"CREATE POLICY engine ON {table} TO {ENGINE_ROLE} USING (true)"
    yield f"CREATE POLICY tenant ON {table} TO {TENANT_ROLE} USING ({condition})"


def _no_wall(table: str) -> Iterable[str]:
    yield f"DROP POLICY IF EXISTS tenant ON {table}"
    yield f"DROP POLICY IF EXISTS engine ON {table}"
    yield f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"


def _run(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(text(statement))
