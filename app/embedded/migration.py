"""`python -m app.embedded.migration`: bring DATABASE_URL to the newest schema, in a process of its own.

A process of its own, because Alembic and the models are more than the supervising process should carry for its life.
"""

import sys

from app.core.config import load_settings
from app.core.errors import AutomateError
from app.db.migrate import prepare


def main() -> str | None:
    """Migrate; return a sentence when it cannot be done."""
    try:
        settings = load_settings()
        prepare(settings.database_url or "", settings.owner_url)
    except AutomateError as error:
        return error.detail
    return None


if __name__ == "__main__":
    sys.exit(main())
