"""row-level security: on Postgres, who is confined to a tenant sees that tenant's rows alone.

Revision ID: 0020
Revises: 0007
"""

from alembic import op

revision = "0020"
down_revision = "0007"
branch_labels = None
depends_on = None

ENGINE = "automateos_engine"
TENANT = "automateos_tenant"
MINE = "owner_id = ANY (automateos_owners())"
OF_MY_WORKFLOW = "EXISTS (SELECT FROM workflows w WHERE w.id = workflow_id)"
OF_MY_RUN = "EXISTS (SELECT FROM runs r WHERE r.id = run_id)"
OF_MY_APPROVAL = "EXISTS (SELECT FROM approvals a WHERE a.id = approval_id)"
NAMES_ME = "(context -> 'legal_basis' -> 'authorized_users')::jsonb ? current_setting('automateos.email', true)"
READABLE = {
    "workflows": MINE,
    "workflow_versions": OF_MY_WORKFLOW,
    "schedules": OF_MY_WORKFLOW,
    "runs": f"{MINE} OR {NAMES_ME}",
    "steps": OF_MY_RUN,
    "run_logs": OF_MY_RUN,
    "evidence": OF_MY_RUN,
    "hook_calls": OF_MY_RUN,
    "approvals": f"{MINE} OR {OF_MY_RUN}",
    "approval_decisions": OF_MY_APPROVAL,
    "events": MINE,
}
"""What a tenant sees of each table. What a subquery reads is held to the policy of its own table."""
WRITABLE = ("workflows", "workflow_versions", "schedules")
ROLE = """
DO $$ BEGIN
    CREATE ROLE {role} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$
"""
GRANT_ROLES = f"""
DO $$ BEGIN
    EXECUTE format('GRANT {ENGINE} TO %I', current_user);
    EXECUTE format('GRANT {TENANT} TO %I WITH INHERIT FALSE, SET TRUE', current_user);
EXCEPTION WHEN insufficient_privilege OR unique_violation THEN NULL;
END $$
"""
"""Who creates roles without being superuser is their administrator, but not yet a member."""
OWNERS = """
CREATE FUNCTION automateos_owners() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT string_to_array(current_setting('automateos.owners', true), ',')::uuid[] $$
"""
EVERYTHING = f"SELECT, INSERT, UPDATE, DELETE ON TABLES TO {ENGINE}"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for role in (ENGINE, TENANT):
        op.execute(ROLE.format(role=role))
    if not _roles_exist():
        # The platform says at start that this wall is missing, and how to build it.
        return
    op.execute(GRANT_ROLES)
    op.execute(OWNERS)
    op.execute(f"GRANT USAGE ON SCHEMA public TO {ENGINE}, {TENANT}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ENGINE}")
    op.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {ENGINE}")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {EVERYTHING}")
    for table, condition in READABLE.items():
        op.execute(f"GRANT SELECT ON {table} TO {TENANT}")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY engine ON {table} TO {ENGINE} USING (true)")
        op.execute(f"CREATE POLICY tenant ON {table} TO {TENANT} USING ({condition})")
    for table in WRITABLE:
        op.execute(f"GRANT INSERT, UPDATE, DELETE ON {table} TO {TENANT}")
    op.execute(f"GRANT SELECT (id, email, role) ON users TO {TENANT}")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql" or not _roles_exist():
        return
    for table in READABLE:
        op.execute(f"DROP POLICY IF EXISTS tenant ON {table}")
        op.execute(f"DROP POLICY IF EXISTS engine ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {table} FROM {TENANT}")
    op.execute(f"REVOKE ALL ON users FROM {TENANT}")
    op.execute(f"REVOKE SELECT (id, email, role) ON users FROM {TENANT}")  # noqa: S608 - our own names
    op.execute("DROP FUNCTION IF EXISTS automateos_owners()")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {ENGINE}")
    op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ENGINE}")
    op.execute(f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {ENGINE}")
    op.execute(f"REVOKE ALL ON SCHEMA public FROM {ENGINE}, {TENANT}")


def _roles_exist() -> bool:
    found = op.get_bind().exec_driver_sql(
        f"SELECT count(*) FROM pg_roles WHERE rolname IN ('{ENGINE}', '{TENANT}')"  # noqa: S608 - our own names
    )
    return bool(found.scalar_one() == 2)
