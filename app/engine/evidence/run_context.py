"""The context of a run: on what grounds it was started. Pure: what a workflow asks for, against what was given."""

from collections.abc import Mapping, Sequence
from typing import Any

Context = Mapping[str, Any]


def merged_context(rules: Mapping[str, Any] | None, given: Context | None) -> dict[str, Any] | None:
    """Return the context of a new run: what was given, and the workflow's defaults for the rest; null when empty."""
    if rules is None:
        return dict(given) if given else None
    return {**rules.get("defaults", {}), **(given or {})} or None


def missing_fields(rules: Mapping[str, Any] | None, context: Context | None) -> Sequence[str]:
    """Return the fields that the workflow requires and the context lacks."""
    if rules is None:
        return ()
    return [name for name in rules.get("required", ()) if not (context or {}).get(name)]


def may_read(context: Context | None, email: str) -> bool:
    """Tell whether a run's legal basis names this address (as it is stored) among those who may read the run."""
    return email in _authorized_users(context)


def names_readers(context: Context | None) -> bool:
    """Tell whether a run's legal basis says who may read the run, so that nobody else but its owner does."""
    return bool(_authorized_users(context))


def _authorized_users(context: Context | None) -> Sequence[str]:
    basis = (context or {}).get("legal_basis") or {}
    return basis.get("authorized_users") or ()
