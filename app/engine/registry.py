"""The catalogue of node types: discovered in a folder, in PLUGINS_DIR, and in installed packages.

A file that does not load is quarantined: it is named with its error, and everything else runs.
"""

import dis
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.core.errors import Problem
from app.core.logging import get_logger
from app.engine.language.catalogue import NodeInfo
from app.engine.language.expressions import compile_template
from app.engine.language.problems import existing_path, from_validation, pointer
from app.engine.planning.transitions import OnLost
from app.engine.sdk import LoopNode, Node, node_models

BUILT_IN = Path(__file__).parent / "nodes"
BUILT_IN_SOURCE = "app/engine/nodes/"
ENTRY_POINTS = "automateos.nodes"
MAX_ERROR_CHARACTERS = 500
SUSPENDING = "YIELD_VALUE"
"""The instruction that every `await`, `async for` and `async with` comes down to."""
PLAIN_VALUES: tuple[Any, ...] = (
    1, 0.5, True, "x", [], {}, "2000-01-01T00:00:00Z", "https://example.com",
)  # fmt: skip
log = get_logger(__name__)

AnyNode = Node[Any, Any]


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A file that was left out, and why."""

    source: str
    error: str


@dataclass(frozen=True, slots=True)
class NodeType:
    """A node type that can run."""

    node: AnyNode
    config: type[BaseModel]
    output: TypeAdapter[Any]
    info: NodeInfo
    awaits_nothing: bool = False
    """Its `run` is an `async def` that never awaits: once begun, it ends before anything else happens."""


class Catalogue:
    """Every node type by name, and the files that did not load."""

    def __init__(self) -> None:
        self._types: dict[str, NodeType] = {}
        self.failures: list[LoadFailure] = []
        self.plugin_hashes: dict[str, str] = {}
        """The SHA-256 of each file that came from outside the package, also of those that did not load."""

    def find(self, node_type: str) -> NodeInfo | None:
        """Return a node type as the catalogue shows it, or None when there is none of that name."""
        found = self._types.get(node_type)
        return found.info if found else None

    def get(self, node_type: str) -> NodeType | None:
        """Return a node type to run, or None when there is none of that name."""
        return self._types.get(node_type)

    def on_lost(self, node_type: str) -> OnLost:
        """Return what becomes of a step of this type whose worker dies; of an unknown type nothing has run."""
        found = self._types.get(node_type)
        return found.node.on_lost if found else "retry"

    def fleeting(self, isolates: Callable[[NodeType], bool]) -> frozenset[str]:
        """Return the types whose attempts are over before anything else can happen, and harm nobody when made again."""
        return frozenset(
            name
            for name, found in self._types.items()
            if found.node.pure
            and found.awaits_nothing
            and found.node.on_lost == "retry"
            and not isolates(found)
        )

    def is_built_in(self, node_type: str) -> bool:
        """Tell whether a node type is one of our own, which are known to keep what they promise."""
        found = self._types.get(node_type)
        return found is not None and found.info.source.startswith(BUILT_IN_SOURCE)

    def names(self) -> Sequence[str]:
        """Return the names of all node types, sorted."""
        return sorted(self._types)

    def types(self) -> Sequence[NodeInfo]:
        """Return all node types, sorted by name."""
        return [self._types[name].info for name in self.names()]

    def ports(self, node_type: str, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the ports of a step with this config."""
        return self._types[node_type].node.ports_of(config)

    def check_config(self, node_type: str, config: Mapping[str, Any]) -> Sequence[Problem]:
        """Return what is wrong with a config, with pointers into it; values with `${{ … }}` are left for the run."""
        model = self._types[node_type].config
        problems, faulty = _faults(model, config)
        if faulty:
            # Checks over several fields run only when each field fits: look again with something that these could be, for
            # one that is wrong is there all the same.
            rest = {name: value for name, value in config.items() if name not in faulty}
            rest |= _stand_ins(model, faulty)
            seen = {problem.pointer for problem in problems} | {pointer(name) for name in faulty}
            problems += [
                problem for problem in _faults(model, rest)[0] if problem.pointer not in seen
            ]
        return problems

    def add(self, node_class: type[AnyNode], source: str) -> None:
        """Register a node type.

        Raises:
            ValueError: the name is taken.
            TypeError: the class does not say what it must.
        """
        node = node_class()
        taken = self._types.get(node.type)
        if taken is not None:
            raise ValueError(f"the node type {node.type!r} is taken by {taken.info.source}")
        config, output, _, _ = _models(node_class)
        self._types[node.type] = NodeType(
            node, config, output, _describe(node, source), awaits_nothing(node_class.run)
        )

    def load(self, source: str, modules: Iterator[ModuleType]) -> None:
        """Register the node types of a module; whatever goes wrong, the module is quarantined whole."""
        before = dict(self._types)
        try:
            for module in modules:
                for node_class in _node_classes(module):
                    self.add(node_class, source)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, SystemExit included
            self._types = before
            reason = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]
            self.failures.append(LoadFailure(source, reason))
            log.warning("node_file_quarantined", source=source, error=reason)


def load_catalogue(plugins_dir: Path | None = None) -> Catalogue:
    """Return the catalogue of the built-in nodes, of installed packages, and of a folder of plug-ins."""
    catalogue = Catalogue()
    for path in _files(BUILT_IN):
        catalogue.load(
            f"{BUILT_IN_SOURCE}{path.name}", import_file(f"app.engine.nodes.{path.stem}", path)
        )
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        catalogue.load(f"package {entry.value}", (entry.load() for _ in range(1)))
        file = getattr(sys.modules.get(entry.module), "__file__", None)
        if file is not None:
            catalogue.plugin_hashes[file] = _sha256(Path(file))
    if plugins_dir is not None:
        if not plugins_dir.is_dir():
            catalogue.failures.append(LoadFailure(str(plugins_dir), "PLUGINS_DIR is no folder"))
        for path in _files(plugins_dir):
            catalogue.plugin_hashes[str(path)] = _sha256(path)
            digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
            catalogue.load(str(path), import_file(f"automateos_plugin_{digest}_{path.stem}", path))
    return catalogue


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "unreadable"


def import_file(name: str, path: Path) -> Iterator[ModuleType]:
    """Import a file when the iterator is advanced, so that what it raises is caught by the loader."""
    loaded = sys.modules.get(name)
    if loaded is None:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded
        try:
            spec.loader.exec_module(loaded)
        except BaseException:
            del sys.modules[name]
            raise
    yield loaded


@cache
def awaits_nothing(run: object) -> bool:
    """Tell whether a function is an `async def` in which nothing can wait: no await, `async for` or `async with`."""
    if not inspect.isfunction(run) or not inspect.iscoroutinefunction(run):
        return False
    return not any(step.opname == SUSPENDING for step in dis.get_instructions(run))


def _node_classes(module: ModuleType) -> Iterator[type[AnyNode]]:
    found = False
    for value in list(vars(module).values()):
        own = (
            isinstance(value, type)
            and issubclass(value, Node)
            and value.__module__ == module.__name__
        )
        if own and hasattr(value, "type"):
            found = True
            yield value
    if not found:
        raise TypeError(
            "the file defines no node: subclass Node[Config, Output] and give it a `type`"
        )


@cache
def _models(
    node_class: type[AnyNode],
) -> tuple[type[BaseModel], TypeAdapter[Any], dict[str, Any], dict[str, Any]]:
    """Return config and output, then their schemas: they take longer than everything else about a catalogue."""
    config, output = node_models(node_class)
    adapter = TypeAdapter(output)
    return config, adapter, config.model_json_schema(), adapter.json_schema(mode="serialization")


def _describe(node: AnyNode, source: str) -> NodeInfo:
    _, _, config_schema, output_schema = _models(type(node))
    return NodeInfo(
        type=node.type,
        title=node.title or node.type.replace("_", " ").capitalize(),
        description=inspect.cleandoc(type(node).__doc__ or ""),
        config_schema=config_schema,
        output_schema=output_schema,
        ports=node.ports,
        example=node.example,
        source=source,
        is_loop=issubclass(type(node), LoopNode),
        takes_secrets=node.takes_secrets,
    )


def _faults(model: type[BaseModel], config: Mapping[str, Any]) -> tuple[list[Problem], set[str]]:
    """Return what is wrong whatever a run brings, and every field that does not fit as it stands."""
    try:
        model.model_validate(config)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        paths = [(existing_path(fault, config), fault["type"]) for fault in faults]
        hidden = {
            pointer(*path)
            for path, kind in paths
            if path and kind != "extra_forbidden" and _is_templated(path, config)
        }
        problems = [p for p in from_validation(error, model, config) if p.pointer not in hidden]
        return problems, {str(path[0]) for path, _ in paths if path}
    return [], set()


def _stand_ins(model: type[BaseModel], names: set[str]) -> dict[str, Any]:
    """Return a value that fits for each of these fields, where a plain one does."""
    found = {}
    for name in names:
        for value in PLAIN_VALUES:
            if name not in _faults(model, {name: value})[1]:
                found[name] = value
                break
    return found


def _is_templated(path: Sequence[int | str], config: Mapping[str, Any]) -> bool:
    """Tell whether the value at a path is text with an expression in it: its type shows only in a run."""
    value: Any = config
    for part in path:
        if isinstance(value, Mapping) and part not in value:
            return False
        value = value[part]
    return isinstance(value, str) and not compile_template(value).is_static
