"""Check a run's input against the JSON Schema in its definition's `inputs` (draft 2020-12).

Most definitions have none: what checks it takes 3 MB, and is loaded when it is first needed.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from app.core.errors import Problem

JSON_SCHEMA_FORMAT = "json-schema"


def schema_problems(schema: Mapping[str, Any], name: str = "inputs") -> Iterator[Problem]:
    """Yield what is wrong with a schema itself; pointers are relative to what holds it as `name`."""
    found: Iterator[Problem] = _checks().schema_problems(schema, name)
    return found


def schema_fields(config_schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a config's fields that hold a JSON Schema themselves."""
    for name, described in config_schema.get("properties", {}).items():
        if described.get("format") == JSON_SCHEMA_FORMAT:
            yield name


def input_problems(schema: Mapping[str, Any], value: Any) -> list[Problem]:
    """Return what is wrong with an input; pointers are relative to it."""
    found: list[Problem] = _checks().input_problems(schema, value)
    return found


@cache
def _checks() -> Any:
    return import_module("app.engine.language.schema_checks")
