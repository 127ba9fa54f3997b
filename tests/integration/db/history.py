"""A history to plan against: tables as full as those of a busy installation are in proportion, made by the database."""

from sqlalchemy import Connection, text

RUNS = 30_000
LIVE = 1_000
"""The newest runs: they are queued, running, waiting or paused. All others are over."""
LARGE = frozenset(
    {
        "runs",
        "steps",
        "run_logs",
        "waits",
        "events",
        "evidence",
        "approvals",
        "approvers",
        "approval_decisions",
        "approval_links",
        "hook_calls",
        "api_keys",
        "refresh_tokens",
        "sessions",
        "workflow_versions",
        "webhook_deliveries",
        "audit_log",
    }
)
"""Tables that grow with every run, or every save. The others (users, teams, shares, workflows, schedules, workers) stay small enough that
reading one through can be the cheapest way: a planner that does so is right."""
USERS, TEAMS, WORKFLOWS, VERSIONS, WORKERS = 500, 100, 1_000, 20, 4
_ID = """
CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
    SELECT ('01900000-' || lpad(to_hex(hashtext(kind) & 65535), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid
$$
"""
_JSON = """json_build_object('order', n, 'text', repeat('x', 200))"""
_STATEMENTS = (
    _ID,
    f"""
    INSERT INTO users (id, email, password_hash, role, token_version, created_at)
    SELECT pg_temp.id('user', n), 'user' || n || '@example.com', '', 'member', 0, now() FROM generate_series(1, {USERS}) n
    """,
    f"""
    INSERT INTO sessions (id, user_id, token_version, created_at, refreshed_at, expires_at)
    SELECT pg_temp.id('session', n), pg_temp.id('user', n % {USERS} + 1), 0, now(), now(), now() + n * interval '1 minute'
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO refresh_tokens (digest, session_id, expires_at, used_at)
    SELECT md5(n::text) || md5(n::text), pg_temp.id('session', n), now() + n * interval '1 minute', NULL
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO api_keys (id, user_id, name, digest, scopes, created_at)
    SELECT pg_temp.id('key', n), pg_temp.id('user', n % {USERS} + 1), 'key', repeat('x', 64), '[]', now()
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO workflows (id, owner_id, name, description, enabled, version, revision, webhook_auth, webhook_serial,
                           dedupe_by_input, event_type, created_at, updated_at)
    SELECT pg_temp.id('workflow', n), pg_temp.id('user', (n - 1) % {USERS} + 1), 'workflow ' || n, '', true, {VERSIONS}, 1,
           'token', 1, false, 'type' || n % 10, now(), now()
    FROM generate_series(1, {WORKFLOWS}) n
    """,
    f"""
    INSERT INTO workflow_versions (id, workflow_id, version, definition, checksum, created_by, created_at)
    SELECT pg_temp.id('version', n), pg_temp.id('workflow', (n - 1) / {VERSIONS} + 1), (n - 1) % {VERSIONS} + 1, {_JSON},
           '', pg_temp.id('user', 1), now()
    FROM generate_series(1, {WORKFLOWS * VERSIONS}) n
    """,
    f"""
    INSERT INTO teams (id, name, created_by, created_at)
    SELECT pg_temp.id('team', n), 'team ' || n, pg_temp.id('user', n), now() FROM generate_series(1, {TEAMS}) n
    """,
    f"""
    INSERT INTO team_names (name, team_id) SELECT 'team ' || n, pg_temp.id('team', n) FROM generate_series(1, {TEAMS}) n
    """,
    f"""
    INSERT INTO team_members (team_id, user_id, role)
    SELECT pg_temp.id('team', (n + k) % {TEAMS} + 1), pg_temp.id('user', n), 'editor'
    FROM generate_series(1, {USERS}) n, generate_series(1, 3) k
    """,
    f"""
    UPDATE workflows SET owner_id = pg_temp.id('team', 1 + (hashtext(name) & 1023) % {TEAMS}) WHERE (hashtext(name) & 3) = 0
        AND owner_id NOT IN (pg_temp.id('user', 1), pg_temp.id('user', 2))
    """,
    f"""
    INSERT INTO workflow_shares (workflow_id, grantee_id, role, created_by, created_at)
    SELECT pg_temp.id('workflow', n), pg_temp.id('user', n % {USERS} + 1), 'viewer', pg_temp.id('user', 1), now()
    FROM generate_series(1, {WORKFLOWS}) n WHERE n % {USERS} > 1
    """,
    f"""
    INSERT INTO schedules (id, owner_id, workflow_id, cron, timezone, misfire, enabled, next_fire_at, created_at, updated_at)
    SELECT pg_temp.id('schedule', n), pg_temp.id('user', n % {USERS} + 1), pg_temp.id('workflow', n), '* * * * *', 'UTC',
           'skip', true, now() + interval '1 hour', now(), now()
    FROM generate_series(1, {WORKFLOWS}) n
    """,
    f"""
    INSERT INTO workers (id, host, pid, started_at, lease_expires_at)
    SELECT pg_temp.id('worker', n), 'host', n, now(), now() + interval '15 seconds' FROM generate_series(1, {WORKERS}) n
    """,
    f"""
    INSERT INTO runs (id, owner_id, workflow_id, version_id, version, trigger_kind, status, input, output, idempotency_key,
                      worker_id, epoch, wake_at, created_at, started_at, finished_at, signalled, depth, parent_run_id,
                      key_expires_at, input_hash, hooks)
    SELECT pg_temp.id('run', n), pg_temp.id('user', n % {USERS} + 1), pg_temp.id('workflow', n % {WORKFLOWS} + 1),
           pg_temp.id('version', n % {WORKFLOWS} + 1), 1, 'webhook', status, {_JSON}, {_JSON}, 'key ' || n,
           CASE status WHEN 'running' THEN pg_temp.id('worker', n % {WORKERS} + 1) END, 1,
           CASE WHEN status IN ('queued', 'waiting') THEN at END, at, at,
           CASE WHEN status IN ('succeeded', 'failed') THEN at END, status = 'running' AND n % 7 = 0, 0,
           CASE WHEN n % 10 = 0 THEN pg_temp.id('run', n - 1) END,
           CASE WHEN n % 5 = 0 THEN at + interval '1 day' END, CASE WHEN n % 20 = 0 THEN md5(n::text) END,
           CASE WHEN n % 1000 = 0 THEN '[]'::json END
    FROM (SELECT n, now() - ({RUNS} - n) * interval '1 second' AS at,
                 CASE WHEN n > {RUNS - LIVE} THEN (ARRAY['queued', 'running', 'waiting', 'paused'])[n % 4 + 1]
                      WHEN n % 50 = 0 THEN 'failed' ELSE 'succeeded' END AS status
          FROM generate_series(1, {RUNS}) n) AS made
    """,
    """
    UPDATE runs SET owner_id = w.owner_id FROM workflows w WHERE w.id = runs.workflow_id
    """,
    f"""
    INSERT INTO steps (run_id, path, attempt, seq, type, status, changed, superseded, output, started_at, finished_at)
    SELECT pg_temp.id('run', n), 'step_' || step, 1, step, 'wait',
           CASE WHEN n > {RUNS - LIVE} AND step = 2 THEN 'running' ELSE 'succeeded' END, n, false, {_JSON}, now(), now()
    FROM generate_series(1, {RUNS}) n, generate_series(1, 2) step
    """,
    f"""
    INSERT INTO run_logs (run_id, path, attempt, line, level, message, at)
    SELECT pg_temp.id('run', n), 'step_1', 1, 1, 'info', repeat('x', 200), now() FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO waits (run_id, path, attempt, owner_id, kind, due_at, on_due, event_type, correlation_id, child_run_id,
                       resolution, created_at, fresh)
    SELECT pg_temp.id('run', n), 'step_2', 1, pg_temp.id('user', n % {USERS} + 1), kind, now() + interval '1 hour', {_JSON},
           CASE kind WHEN 'event' THEN 'type' || n % 10 END,
           CASE WHEN kind = 'event' AND n % 11 > 0 THEN 'order ' || n END,
           CASE kind WHEN 'run' THEN pg_temp.id('run', n + {RUNS - LIVE} - 1) END, CASE WHEN n % 100 = 0 THEN {_JSON} END,
           now(), kind = 'event' AND n % 500 = 0
    FROM (SELECT n, CASE WHEN n % 30 = 0 THEN 'run' ELSE (ARRAY['timer', 'event', 'approval'])[n % 3 + 1] END AS kind
          FROM generate_series(1, {RUNS}) n) AS made
    """,
    f"""
    INSERT INTO events (id, owner_id, event_id, type, correlation_id, payload, received_at, expires_at, consumed_at, woken,
                        depth)
    SELECT pg_temp.id('event', n), pg_temp.id('user', n % {USERS} + 1), 'id:' || n, 'type' || n % 10, 'order ' || n, {_JSON},
           now() - interval '1 hour', CASE WHEN n % 2000 > 0 THEN now() + interval '1 day' END,
           CASE WHEN n % 2 = 0 AND n % 2000 > 0 THEN now() END, 0, 0
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO approvals (id, owner_id, workflow_id, run_id, path, attempt, status, prompt, approvers, min_approvals,
                           reject_quorum, allow_self, shown_hash, on_reject, timeout_action, timeout_seconds, due_at, created_at)
    SELECT pg_temp.id('approval', n), pg_temp.id('user', n % {USERS} + 1), pg_temp.id('workflow', n % {WORKFLOWS} + 1),
           pg_temp.id('run', n), 'step_2', 1, CASE WHEN n > {RUNS - LIVE} THEN 'pending' ELSE 'approved' END,
           repeat('x', 200), '[]', 1, 1, false, '', 'fail', 'reject', 3600,
           now() + interval '1 hour', now()
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO approvers (approval_id, approver)
    SELECT pg_temp.id('approval', n), 'user' || n % {USERS} + 1 || '@example.com' FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO approval_decisions (approval_id, by, decision, shown_hash, via, at)
    SELECT pg_temp.id('approval', n), 'user' || n % {USERS} + 1 || '@example.com', 'approved', repeat('x', 64), 'api', now()
    FROM generate_series(1, {RUNS - LIVE}) n
    """,
    f"""
    INSERT INTO approval_links (token_hash, approval_id, approver, created_by, expires_at)
    SELECT md5(n::text) || md5(n::text), pg_temp.id('approval', n), 'bob@example.com', pg_temp.id('user', 1), now()
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO evidence (id, run_id, path, attempt, kind, title, content, sha256, at)
    SELECT pg_temp.id('evidence', n), pg_temp.id('run', n), 'step_1', 1, 'note', '', {_JSON}, repeat('x', 64), now()
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO webhook_deliveries (key, sender_key, workflow_id, run_id, expires_at)
    SELECT md5(n::text), CASE WHEN n % 2 = 0 THEN 'sender ' || n END, pg_temp.id('workflow', n % {WORKFLOWS} + 1),
           pg_temp.id('run', n), now() + interval '1 day'
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO hook_calls (run_id, url, tries, next_try_at, answered_at)
    SELECT pg_temp.id('run', n), 'https://example.com/' || repeat('x', 100), 1, CASE WHEN n % 500 = 0 THEN now() END, now()
    FROM generate_series(1, {RUNS}) n
    """,
    f"""
    INSERT INTO audit_log (seq, at, actor_kind, actor_id, actor_email, action, target_kind, target_id, owner_id, run_id,
                           details, previous_hash, hash)
    SELECT n, now() - ({RUNS} - n) * interval '1 second', 'user', pg_temp.id('user', n % {USERS} + 1),
           'user' || n % {USERS} + 1 || '@example.com', (ARRAY['login.succeeded', 'workflow.changed', 'run.cancelled'])[n % 3 + 1],
           'thing', n::text, pg_temp.id('user', n % {USERS} + 1), CASE WHEN n % 3 = 2 THEN pg_temp.id('run', n) END, {_JSON},
           repeat('x', 64), repeat('x', 64)
    FROM generate_series(1, {RUNS}) n
    """,
)


def write_history(connection: Connection) -> None:
    """Fill every table."""
    for statement in _STATEMENTS:
        connection.execute(text(statement.replace(":", r"\:")))
