"""Databases that cannot be brought to the schema."""

import pytest

from app.core.errors import ConfigurationError
from app.db import migrate


def test_a_postgres_that_is_too_old_is_named_with_what_is_needed(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "OLDEST_POSTGRES", 1_000)

    with pytest.raises(ConfigurationError, match=r"is Postgres \d+: AutomateOS needs 1000 or"):
        migrate.upgrade(postgres_url)
