"""`node`: list, show, make and try node types. docs/writing-a-node.md tells how to write one."""

import asyncio
import inspect
import json
import keyword
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from app.cli.columns import first_line, in_columns
from app.cli.conformance import TYPE_NAME, faults_of
from app.cli.node_file import load_file, new_file, try_example
from app.core.config import load_settings
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.logging import configure_logging
from app.engine.language.catalogue import NodeInfo
from app.engine.language.problems import nearest
from app.engine.registry import load_catalogue

DEFAULT_FOLDER = Path("plugins")

app = typer.Typer(
    help="Node types: what a step can be.", no_args_is_help=True, add_completion=False
)


@app.callback()
def node() -> None:
    """Node types: what a step can be."""
    configure_logging("error")  # commands tell of quarantined files themselves


@app.command("list")
def list_types() -> None:
    """List the node types, and the files that were left out."""
    catalogue = load_catalogue(load_settings().plugins_dir)
    rows = [(info.type, first_line(info.description), info.source) for info in catalogue.types()]
    for line in in_columns(("TYPE", "DESCRIPTION", "LOADED FROM"), *rows):
        typer.echo(line)
    for failure in catalogue.failures:
        typer.echo(f"Left out: {failure.source} ({failure.error})")


@app.command()
def show(node_type: Annotated[str, typer.Argument(help="Such as http_request_node.")]) -> None:
    """Show a node type: its config, its output, its ports and an example."""
    catalogue = load_catalogue(load_settings().plugins_dir)
    info = catalogue.find(node_type)
    if info is None:
        names = catalogue.names()
        raise NotFound(
            f"There is no node type {node_type!r}.{nearest(node_type, names)} There are: {', '.join(names)}."
        )
    for line in _described(info):
        typer.echo(line)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The node type, such as post_message.")],
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Unset: PLUGINS_DIR, or else plugins.")
    ] = None,
) -> None:
    """Write a node file to start from; it runs as it is."""
    if not TYPE_NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InvalidInput(
            f"{name!r} cannot be a node type: use lower-case letters, digits and underscores."
        )
    settings = load_settings()
    if name in load_catalogue(settings.plugins_dir).names():
        raise Conflict(f"There is a node type {name!r} already: choose another name.")
    plugins_dir = settings.plugins_dir or DEFAULT_FOLDER
    path = new_file(name, folder or plugins_dir)
    typer.echo(f"Wrote {path}. Try it: python3 main.py node test {path} --run")
    typer.echo(f"Let the platform load it: PLUGINS_DIR={path.parent} python3 main.py")


@app.command("test")
def check(
    file: Annotated[Path, typer.Argument(help="A node file.")],
    run: Annotated[bool, typer.Option("--run", help="Run each example once, too.")] = False,
    given: Annotated[
        str, typer.Option("--input", help="JSON that the example reads as `input`.")
    ] = "{}",
) -> None:
    """Check a node file as the platform would load it; exit code 1 when something is wrong."""
    value = _json(given)
    catalogue, types = load_file(file)
    faults = {name: list(faults_of(catalogue, name)) for name in types}
    for name in types:
        for fault in faults[name]:
            typer.echo(f"{name}: {fault}")
        if not faults[name]:
            typer.echo(f"{name}: holds to everything that is checked")
    outcomes = [
        asyncio.run(try_example(catalogue, name, value, load_settings(), typer.echo))
        for name in types
        if run and not faults[name]
    ]
    if any(faults.values()) or not all(outcomes):
        raise typer.Exit(1)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"--input is no JSON ({error}): write such as '{{\"id\": 1}}'."
        ) from None


def _described(info: NodeInfo) -> Iterator[str]:
    yield f"{info.type} ({info.title}), from {info.source}"
    yield ""
    yield inspect.cleandoc(info.description)
    yield from _table("Config", _config_rows(info.config_schema))
    yield from _table("Output", _output_rows(info.output_schema))
    yield ""
    yield f"Ports: {', '.join(info.ports)}"
    yield ""
    yield "Example config:"
    yield json.dumps(info.example, indent=2, ensure_ascii=False)


def _table(title: str, rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    lines = list(in_columns(*rows))
    yield ""
    yield f"{title}:" if lines else f"{title}: any JSON"
    yield from lines


def _config_rows(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for field, described in schema.get("properties", {}).items():
        need = _need(field, described, schema)
        yield f"  {field}", _kind(described), need, described.get("description", "")


def _output_rows(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the fields of an output; where it is one of several, those of all."""
    definitions = schema.get("$defs", {})
    choices = [definitions.get(_name_of(choice), {}) for choice in schema.get("anyOf", ())]
    for part in (schema, *choices):
        for field, described in part.get("properties", {}).items():
            yield f"  {field}", _kind(described), described.get("description", "")


def _name_of(choice: Mapping[str, Any]) -> str:
    return str(choice.get("$ref", "")).rpartition("/")[2]


def _kind(described: Mapping[str, Any]) -> str:
    if "enum" in described:
        return "one of " + " ".join(map(str, described["enum"]))
    kinds = [_kind(choice) for choice in described.get("anyOf", ()) if choice.get("type") != "null"]
    if kinds:
        return " or ".join(dict.fromkeys(kinds))
    kind = str(described.get("type", "any"))
    return "expression" if described.get("format") == "expression" else kind


def _need(field: str, described: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if field in schema.get("required", ()):
        return "required"
    default = described.get("default")
    return "" if default is None else f"default {json.dumps(default)}"
