"""Where a config holds bare expressions, told from its JSON Schema: strings of format `expression`, at any depth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "expression"
LOCALS = "x-locals"
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One bare expression in a config: where, its text, and the names it may use besides the usual ones."""

    path: Path
    source: str
    local: tuple[str, ...]


def expression_places(schema: Mapping[str, Any], config: Any) -> list[Place]:
    """Return the bare expressions of a config."""
    return list(_places(schema, config, (), schema.get("$defs", {})))


def without(config: Any, paths: set[Path], at: Path = ()) -> Any:
    """Return a copy of a config with null in the given places."""
    if at in paths:
        return None
    if isinstance(config, Mapping):
        return {name: without(value, paths, (*at, name)) for name, value in config.items()}
    if isinstance(config, list):
        return [without(value, paths, (*at, index)) for index, value in enumerate(config)]
    return config


def put(config: Any, path: Path, value: Any) -> None:
    """Set a place in a config."""
    for part in path[:-1]:
        config = config[part]
    config[path[-1]] = value


def _places(schema: Any, value: Any, path: Path, definitions: Mapping[str, Any]) -> Iterator[Place]:
    if not isinstance(schema, Mapping):
        return
    for branch in _branches(schema, definitions):
        if branch.get("format") == FORMAT and isinstance(value, str):
            yield Place(path, value, tuple({**branch, **schema}.get(LOCALS, ())))
            return
        for part, inner, item in _inside(branch, value):
            yield from _places(inner, item, (*path, part), definitions)


def _inside(schema: Mapping[str, Any], value: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """Yield the parts of a value with their schemas: (name or index, schema, value)."""
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        yield from ((name, properties[name], value[name]) for name in properties if name in value)
    elif isinstance(value, list):
        yield from ((index, schema.get("items"), item) for index, item in enumerate(value))


def _branches(
    schema: Mapping[str, Any], definitions: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield a schema, what it refers to, and its alternatives."""
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        yield from _branches(definitions.get(reference.rpartition("/")[2], {}), definitions)
    for choice in schema.get("anyOf", ()):
        yield from _branches(choice, definitions)
