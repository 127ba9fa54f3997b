"""Secrets that webhook calls are signed with: stored encrypted, each bound to its workflow and its number."""

import base64
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection, Integer, String

from app.core.security.encryption import MAX_KEY_ID_CHARACTERS, KeyRing, Sealed
from app.core.security.webhook_signatures import signing_key
from app.core.statuses import WebhookScheme
from app.db.statement import Statement
from app.db.types import Id

_REMEMBERED: Final = 4096
# Secrets under another key than the newest. Few workflows have one, and only `rotate-keys` asks.
FIND_OLDER_SECRETS = Statement(
    """
    SELECT id, webhook_serial, webhook_secret, webhook_old_secret FROM workflows
    WHERE substr(webhook_secret, 1, :letters) <> :current OR substr(webhook_old_secret, 1, :letters) <> :current
    ORDER BY id LIMIT :batch
    """,
    takes={"current": String(), "letters": Integer(), "batch": Integer()},
    returns={
        "id": Id(),
        "webhook_serial": Integer(),
        "webhook_secret": String(),
        "webhook_old_secret": String(),
    },
)
# The beginning of each secret: its key's id, and a colon.
LIST_KEYS = Statement(
    """
    SELECT substr(webhook_secret, 1, :letters) AS head FROM workflows WHERE webhook_secret IS NOT NULL
    UNION ALL
    SELECT substr(webhook_old_secret, 1, :letters) FROM workflows WHERE webhook_old_secret IS NOT NULL
    """,
    takes={"letters": Integer()},
    returns={"head": String()},
)
# A secret that has been replaced meanwhile stays as it is.
REPLACE_SECRETS = Statement(
    """
    UPDATE workflows SET webhook_secret = v.secret, webhook_old_secret = v.old_secret FROM {rows}
    WHERE workflows.id = v.id AND workflows.id {among_ids} AND workflows.webhook_serial = v.serial
    """,
    rows={"id": "uuid", "serial": "integer", "secret": "text", "old_secret": "text"},
)


class WebhookSecrets:
    """Encrypts secrets for the workflow's row, and opens them, each once a process while it is used."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self.signing_key = lru_cache(_REMEMBERED)(self._signing_key)

    def seal(self, workflow_id: str, serial: int, secret: str) -> str:
        """Return a secret as it is stored: the id of its key, a colon, the ciphertext in base64."""
        sealed = self._keys.seal(secret.encode(), _bound_to(workflow_id, serial))
        return f"{sealed.key_id}:{base64.b64encode(sealed.ciphertext).decode()}"

    def open(self, workflow_id: str, serial: int, stored: str) -> str:
        """Return the secret.

        Raises:
            CannotDecrypt: its key is not there, or it was changed or moved.
        """
        key_id, _, ciphertext = stored.rpartition(":")
        sealed = Sealed(key_id, base64.b64decode(ciphertext))
        return self._keys.open(sealed, _bound_to(workflow_id, serial)).decode()

    def _signing_key(
        self, scheme: WebhookScheme, workflow_id: str, serial: int, stored: str
    ) -> bytes:
        return signing_key(scheme, self.open(workflow_id, serial, stored))


def reencrypt(connection: Connection, keys: KeyRing, limit: int) -> int:
    """Encrypt secrets of at most `limit` workflows under the newest key; returns how many there were, 0 when all are done.

    Raises:
        CannotDecrypt: the key of one is not among the keys.
    """
    secrets = WebhookSecrets(keys)

    def again(workflow_id: str, serial: int, stored: str | None) -> str | None:
        if stored is None:
            return None
        return secrets.seal(workflow_id, serial, secrets.open(workflow_id, serial, stored))

    current = f"{keys.current}:"
    found = FIND_OLDER_SECRETS.run(connection, current=current, letters=len(current), batch=limit)
    rows = [
        {
            "id": row.id,
            "serial": row.webhook_serial,
            "secret": again(row.id, row.webhook_serial, row.webhook_secret),
            "old_secret": again(row.id, row.webhook_serial - 1, row.webhook_old_secret),
        }
        for row in found
    ]
    if rows:
        REPLACE_SECRETS.run(connection, rows)
    return len(rows)


def keys_in_use(connection: Connection) -> Mapping[str, int]:
    """Return how many secrets lie under each key, by its id."""
    rows = LIST_KEYS.run(connection, letters=MAX_KEY_ID_CHARACTERS + 1)
    return Counter(row.head.partition(":")[0] for row in rows)


def _bound_to(workflow_id: str, serial: int) -> str:
    return f"webhook:{workflow_id}:{serial}"
