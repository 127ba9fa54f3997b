"""The `node` commands."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Say


def test_the_list_names_types_and_files_that_were_left_out(
    cli: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    monkeypatch.setenv("PLUGINS_DIR", str(tmp_path))

    said = cli("node", "list")

    assert said.code == 0
    assert "http_request_node  Send an HTTP request and return the response." in said.out
    assert f"Left out: {tmp_path / 'broken.py'} (ModuleNotFoundError" in said.out


def test_a_type_is_shown_with_its_fields_and_an_example(cli: Say) -> None:
    said = cli("node", "show", "filter_node")

    assert said.code == 0
    for part in ("condition  expression  required  True for what stays", "kept     integer", "Ports: out",
                 '"condition": "item.total > 100"'):  # fmt: skip
        assert part in said.out


def test_an_output_of_any_kind_is_shown_as_such(cli: Say) -> None:
    said = cli("node", "show", "transform")

    assert "Output: any JSON" in said.out


def test_an_unknown_type_is_refused_with_the_nearest_name(cli: Say) -> None:
    said = cli("node", "show", "filter_nod")

    assert said.code == 1
    assert "Did you mean 'filter_node'?" in said.err


def test_a_new_file_holds_to_everything_and_runs(cli: Say) -> None:
    written = cli("node", "new", "shout_loud")
    tested = cli("node", "test", "plugins/shout_loud.py", "--run")

    assert written.code == 0
    assert "Wrote plugins/shout_loud.py." in written.out
    assert tested.code == 0
    assert "shout_loud: holds to everything that is checked" in tested.out
    assert 'shout_loud: output {"text":"HELLO"}, port out' in tested.out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("log", "There is a node type 'log' already"),
        ("Post-Message", "cannot be a node type"),
        ("import", "cannot be a node type"),
        ("taken", "taken.py exists already"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    cli: Say, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "taken.py").touch()

    said = cli("node", "new", name, "--dir", str(tmp_path))

    assert said.code == 1
    assert why in said.err


def test_a_file_that_falls_short_is_told_how(cli: Say, tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    path.write_text(
        "from typing import Any\n"
        "from app.engine.sdk import Context, Node, NodeConfig\n"
        "class Config(NodeConfig):\n"
        "    text: str\n"
        "class Plain(Node[Config, Any]):\n"
        "    type = 'plain'\n"
        "    example = {'txt': 'Hello'}\n"
        "    def run(self, config: Config, context: Context) -> Any: ...\n"
    )

    said = cli("node", "test", str(path), "--run")

    assert said.code == 1
    for part in (
        "plain: The class has no docstring",
        "plain: The field `text` of Config",
        "at /txt",
    ):
        assert part in said.out
    assert "output" not in said.out


def test_an_example_that_fails_is_told_why(cli: Say) -> None:
    cli("node", "new", "greet")
    path = Path("plugins/greet.py")
    path.write_text(path.read_text().replace('"text": "Hello"', '"text": "${{ input.name }}"'))

    failed = cli("node", "test", str(path), "--run")
    ran = cli("node", "test", str(path), "--run", "--input", '{"name": "Ada"}')

    assert failed.code == 1
    assert "greet: failed with unknown_path" in failed.out
    assert ran.code == 0
    assert '{"text":"ADA"}' in ran.out


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("absent.py", None, "There is no file"),
        ("_hidden.py", "", "would be passed over"),
        ("empty.py", "", "defines no node"),
        ("broken.py", "import no_such_module", "does not load: ModuleNotFoundError"),
    ],
)
def test_a_file_that_does_not_load_is_refused(
    cli: Say, tmp_path: Path, name: str, text: str | None, why: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)

    said = cli("node", "test", str(path))

    assert said.code == 1
    assert why in said.err


def test_input_that_is_no_json_is_refused(cli: Say) -> None:
    said = cli("node", "test", "any.py", "--input", "{")

    assert said.code == 1
    assert "--input is no JSON" in said.err
