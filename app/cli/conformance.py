"""What every node type must hold to; `node test` and the tests of the registry check the same."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from app.core.errors import InvalidDefinition
from app.engine.language.catalogue import NodeInfo
from app.engine.language.definition import parse_definition
from app.engine.registry import Catalogue

TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
PORT_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
ON_LOST = ("retry", "fail", "ask")


def faults_of(catalogue: Catalogue, node_type: str) -> Iterator[str]:
    """Yield a sentence for each thing that a node type does not hold to."""
    found = catalogue.get(node_type)
    if found is None:
        yield f"There is no node type {node_type!r}."
        return
    info = found.info
    if not TYPE_NAME.fullmatch(info.type):
        yield f"`type` is {info.type!r}: use lower-case letters, digits and underscores."
    if not info.description:
        yield "The class has no docstring: it becomes the description in the catalogue."
    if found.node.on_lost not in ON_LOST:
        yield f"`on_lost` is {found.node.on_lost!r}: write one of {', '.join(ON_LOST)}."
    yield from _port_faults(info.ports)
    yield from _schema_faults("Config", info.config_schema)
    yield from _schema_faults("Output", info.output_schema)
    yield from _example_faults(catalogue, info)


def example_definition(info: NodeInfo) -> dict[str, Any]:
    """Return a workflow of one step that is the node type's example; a loop gets a body."""
    step: dict[str, Any] = {"type": info.type, "config": dict(info.example)}
    if info.is_loop:
        step["steps"] = [{"type": "log", "config": {"message": "again"}}]
    return {"steps": [step]}


def _port_faults(ports: tuple[str, ...]) -> Iterator[str]:
    if not ports or len(set(ports)) < len(ports):
        yield f"`ports` is {ports!r}: name at least one port, and each one once."
    for port in ports:
        if not PORT_NAME.fullmatch(port):
            yield f"The port {port!r} must be lower-case letters, digits and underscores."


def _schema_faults(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield f"The JSON Schema of {name} does not hold: {error.message}."
    models = [(name, schema), *schema.get("$defs", {}).items()]
    for model, part in models:
        for field, described in part.get("properties", {}).items():
            if not described.get("description"):
                yield f"The field `{field}` of {model} has no description: write Field(description=…)."


def _example_faults(catalogue: Catalogue, info: NodeInfo) -> Iterator[str]:
    if not info.example and info.config_schema.get("properties"):
        yield "There is no `example`: give a config that works."
        return
    try:
        parse_definition(example_definition(info), catalogue)
    except InvalidDefinition as error:
        for problem in error.problems:
            place = problem.pointer.removeprefix("/steps/0/config") or "/"
            yield f"The example does not hold at {place}: {problem.detail}"
