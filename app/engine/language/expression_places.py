"""Where a config holds what is more than text, told from its JSON Schema: bare expressions, names of credentials."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "expression"
CREDENTIAL_FORMAT = "credential"
LOCALS = "x-locals"
KINDS = "x-credential-kinds"
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One bare expression in a config: where, its text, and the names it may use besides the usual ones."""

    path: Path
    source: str
    local: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CredentialPlace:
    """A field that names a credential: where, what it says, and the kinds that it takes (none: any)."""

    path: Path
    name: str
    kinds: tuple[str, ...]


def expression_places(schema: Mapping[str, Any], config: Any) -> list[Place]:
    """Return the bare expressions of a config."""
    found = _places(schema, config, (), schema.get("$defs", {}), FORMAT)
    return [Place(path, text, tuple(told.get(LOCALS, ()))) for path, text, told in found]


def credential_places(schema: Mapping[str, Any], config: Any) -> list[CredentialPlace]:
    """Return the names of credentials in a config."""
    found = _places(schema, config, (), schema.get("$defs", {}), CREDENTIAL_FORMAT)
    return [CredentialPlace(path, text, tuple(told.get(KINDS, ()))) for path, text, told in found]


def without(config: Any, paths: Collection[Path], at: Path = (), instead: Any = None) -> Any:
    """Return a copy of a config with null, or something else, in the given places."""
    if at in paths:
        return instead
    if isinstance(config, Mapping):
        return {name: without(value, paths, (*at, name), instead) for name, value in config.items()}
    if isinstance(config, list):
        return [without(value, paths, (*at, i), instead) for i, value in enumerate(config)]
    return config


def path_of(pointer: str, config: Any) -> Path:
    """Return the path that a JSON pointer into a config stands for."""
    path: list[str | int] = []
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        path.append(int(key) if isinstance(config, list) else key)
        config = config[path[-1]]
    return tuple(path)


def put(config: Any, path: Path, value: Any) -> None:
    """Set a place in a config."""
    for part in path[:-1]:
        config = config[part]
    config[path[-1]] = value


def _places(
    schema: Any, value: Any, path: Path, definitions: Mapping[str, Any], wanted: str
) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Yield the strings of a format: where, the text, and what the schema tells of it."""
    if not isinstance(schema, Mapping):
        return
    for branch in _branches(schema, definitions):
        if branch.get("format") == wanted and isinstance(value, str):
            yield path, value, {**branch, **schema}
            return
        for part, inner, item in _inside(branch, value):
            yield from _places(inner, item, (*path, part), definitions, wanted)


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
