"""What every node type of the registry holds to, plug-ins of PLUGINS_DIR included."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.conformance import example_definition, faults_of
from app.core.config import load_settings
from app.engine.language.definition import parse_definition
from app.engine.language.expression_places import expression_places
from app.engine.language.problems import pointer
from app.engine.registry import Catalogue, load_catalogue
from app.engine.sdk import Context, Field, Node, NodeConfig

CATALOGUE = load_catalogue(load_settings().plugins_dir)


def _fields() -> Iterator[tuple[str, str]]:
    """Yield each config field into which a template may be written."""
    for info in CATALOGUE.types():
        for field in info.config_schema.get("properties", {}):
            if not expression_places(info.config_schema, {field: "x"}):
                yield info.type, field


def test_every_file_loads() -> None:
    assert CATALOGUE.failures == []


def test_the_built_in_types_are_there() -> None:
    assert {"filter_node", "http_request_node", "log", "transform"} <= set(CATALOGUE.names())


@pytest.mark.parametrize("node_type", CATALOGUE.names())
def test_a_node_type_holds_to_what_is_expected(node_type: str) -> None:
    assert list(faults_of(CATALOGUE, node_type)) == []


@pytest.mark.parametrize("node_type", CATALOGUE.names())
def test_an_example_is_a_config_and_a_step(node_type: str) -> None:
    info = CATALOGUE.types()[list(CATALOGUE.names()).index(node_type)]

    problems = CATALOGUE.check_config(node_type, info.example)
    plan = parse_definition(example_definition(info), CATALOGUE)

    assert problems == []
    assert plan.steps["step_1"].type == node_type


@pytest.mark.parametrize(("node_type", "field"), list(_fields()))
def test_a_template_is_accepted_in_every_field_when_a_workflow_is_saved(
    node_type: str, field: str
) -> None:
    info = CATALOGUE.find(node_type)
    assert info is not None

    problems = CATALOGUE.check_config(node_type, {**info.example, field: "${{ input.value }}"})

    assert [problem for problem in problems if problem.pointer == pointer(field)] == []


@pytest.mark.parametrize("node_type", CATALOGUE.names())
def test_an_unknown_field_is_refused_when_a_workflow_is_saved(node_type: str) -> None:
    info = CATALOGUE.find(node_type)
    assert info is not None

    problems = CATALOGUE.check_config(node_type, {**info.example, "no_such_field": 1})

    assert [(problem.pointer, problem.code) for problem in problems] == [
        ("/no_such_field", "unknown_field")
    ]


class _BareConfig(NodeConfig):
    text: str
    number: int = Field(default=1, description="A number.")


class _Bare(Node[_BareConfig, Any]):
    type = "Bare-Node"
    ports = ("out", "out")
    example = {"text": 5}

    def run(self, config: _BareConfig, context: Context) -> Any:
        del config, context


def test_what_a_node_type_lacks_is_named() -> None:
    catalogue = Catalogue()
    catalogue.add(_Bare, "here")

    faults = " ".join(faults_of(catalogue, "Bare-Node"))

    for missing in ("`type` is", "no docstring", "`ports` is", "`text` of Config", "at /text"):
        assert missing in faults
    assert "`number`" not in faults


def test_plug_ins_are_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "quiet.py").write_text(
        "from typing import Any\n"
        "from app.engine.sdk import Context, Field, Node, NodeConfig\n"
        "class Config(NodeConfig):\n"
        "    text: str = Field(description='A text.')\n"
        "class Quiet(Node[Config, Any]):\n"
        "    type = 'quiet'\n"
        "    def run(self, config: Config, context: Context) -> Any: ...\n"
    )

    faults = list(faults_of(load_catalogue(tmp_path), "quiet"))

    assert len(faults) == 2
    assert "docstring" in faults[0]
    assert "example" in faults[1]
