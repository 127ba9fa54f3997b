"""One node file by itself: written from a template, loaded as the platform would, its example run once."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.ids import new_id
from app.engine.attempt.context import AttemptContext
from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.engine.executor import Attempt, run_attempt
from app.engine.isolation.pool import ChildPool
from app.engine.language.definition import parse_definition
from app.engine.planning.record import rfc3339
from app.engine.planning.transitions import Succeeded, Suspended
from app.engine.registry import Catalogue, load_catalogue

TEMPLATE = '''"""The `{name}` node type."""

from app.engine.sdk import Context, Field, Node, NodeConfig, NodeOutput


class Config(NodeConfig):
    """What the user fills in."""

    text: str = Field(description="The text to work on.", examples=["Hello ${{{{ input.name }}}}"])


class Output(NodeOutput):
    """What later steps read."""

    text: str = Field(description="The text in capitals.")


class {class_name}(Node[Config, Output]):
    """Say in one sentence what this does; the catalogue shows it."""

    type = "{name}"
    example = {{"text": "Hello"}}

    async def run(self, config: Config, context: Context) -> Output:
        """Do the work of one attempt."""
        context.log("working", data={{"text": config.text}})
        return Output(text=config.text.upper())
'''


def new_file(name: str, folder: Path) -> Path:
    """Write the template under a node type's name; returns where.

    Raises:
        Conflict: the file is there already.
        InvalidInput: the folder cannot be written.
    """
    path = folder / f"{name}.py"
    class_name = "".join(part.capitalize() for part in name.split("_"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(TEMPLATE.format(name=name, class_name=class_name))
    except FileExistsError:
        raise Conflict(f"{path} exists already: choose another name or --dir.") from None
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written ({error.strerror}): choose another --dir."
        ) from None
    return path


def load_file(path: Path) -> tuple[Catalogue, Sequence[str]]:
    """Return the catalogue with one file's node types in it, and their names; its neighbours are not touched.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it does not load, or the platform would pass over it.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    if path.suffix != ".py" or path.name.startswith("_"):
        raise InvalidInput(
            f"{path.name} would be passed over: name it *.py, without a leading underscore."
        )
    with tempfile.TemporaryDirectory(prefix="automateos-node-") as folder:
        alone = Path(folder) / path.name
        alone.symlink_to(path.absolute())
        catalogue = load_catalogue(Path(folder))
    for failure in catalogue.failures:
        if failure.source == str(alone):
            raise InvalidInput(f"{path} does not load: {failure.error}")
    return catalogue, [info.type for info in catalogue.types() if info.source == str(alone)]


async def try_example(
    catalogue: Catalogue, node_type: str, value: Any, settings: Settings, say: Callable[[str], None]
) -> bool:
    """Run one attempt on a node type's example, with `value` as the input; tell whether it succeeded."""
    node = catalogue.get(node_type)
    if node is None:
        raise NotFound(f"There is no node type {node_type!r}.")
    if node.info.is_loop:
        raise InvalidInput(f"{node_type} is carried out by the engine: try it in a workflow.")
    clock = SystemClock()
    definition = {"steps": [{"type": node_type, "config": dict(node.info.example)}]}
    step = parse_definition(definition, catalogue).steps["step_1"]
    now, run_id = rfc3339(clock.now()), new_id()
    scope = {
        "input": value,
        "steps": {},
        "run": {"id": run_id, "started_at": now, "trigger": "manual"},
        "workflow": {"id": new_id(), "name": "node test", "version": 1},
        "now": now,
    }
    async with build_client(build_policy(settings.egress_allow)) as http:
        context = AttemptContext(run_id, step.id, 1, http, clock)
        children = ChildPool(settings)
        try:
            outcome = await run_attempt(
                Attempt(step, node, scope, context, children, None, settings.max_output_bytes)
            )
        finally:
            await children.close()
    for line in context.lines:
        say(f"{node_type}: logged {line.level}: {line.message}")
    if isinstance(outcome, Succeeded):
        say(f"{node_type}: output {orjson.dumps(outcome.output).decode()}, port {outcome.port}")
        return True
    if isinstance(outcome, Suspended):
        say(f"{node_type}: waits: {orjson.dumps(outcome.wait.stored).decode()}")
        return True
    say(f"{node_type}: failed with {outcome.code}: {outcome.message}")
    return False
