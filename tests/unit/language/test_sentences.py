"""What does not fit is told in words that need no Python."""

from typing import Any

import pytest

from app.core.errors import InvalidDefinition
from app.engine.language.definition import parse_definition
from app.engine.registry import load_catalogue

CATALOGUE = load_catalogue()
LOG = {"type": "log", "config": {"message": "x"}}
URL = {"url": "https://example.com"}
PYTHON = (
    "dict",
    "instance of",
    "Input should",
    "validation",
    "after",
    "pattern",
    "parse",
    "[",
    "..",
)


def _told(definition: Any) -> list[str]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition(definition, CATALOGUE)
    return [problem.detail for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        ({}, "`steps` is required: add it."),
        ({"steps": []}, "`steps` must not be empty."),
        ({"steps": {}}, "`steps` must be a list."),
        ({"steps": [5]}, "This must be an object."),
        ({"steps": [LOG] * 501}, "`steps` must have at most 500 entries, and has 501."),
        ({"steps": [LOG], "timeout_seconds": 1e99}, "`timeout_seconds` must be at most 2592000."),
        ({"steps": [LOG], "timeout_seconds": "x"}, "`timeout_seconds` must be a number."),
        ({"steps": [LOG | {"retry": 5}]}, "`retry` must be an object."),
        (
            {"steps": [LOG | {"retry": {"attempts": 1}}]},
            "There is no field 'attempts' here. Did you mean 'max_attempts'? The fields are: max_attempts, "
            "initial_delay_seconds, max_delay_seconds, multiplier, jitter.",
        ),
        (
            {"steps": [{"type": "HTTP"}]},
            "There is no node type 'HTTP'. Did you mean 'http_request_node'? GET /api/v1/nodes lists all.",
        ),
        (
            {"steps": [{"type": "filter_node", "config": {"condition": "${{ input.x }}"}}]},
            "Unexpected '$' at position 0: leave out `${{` and `}}` where an expression stands by itself, and quote a "
            "`$` that is text.",
        ),
        (
            {"steps": [LOG | {"id": "a", "config": {"message": "${{ steps.a.output }}"}}]},
            "steps.a has not run when this step runs: it is this step itself, which has no output yet.",
        ),
        (
            {"steps": [LOG | {"id": "a b"}]},
            "`id` must begin with a letter or _ and hold only letters, digits, _ and -, 100 at most.",
        ),
    ],
)  # fmt: skip
def test_a_sentence_names_the_field_and_what_it_must_be(definition: Any, sentence: str) -> None:
    assert _told(definition) == [sentence]


@pytest.mark.parametrize(
    "config",
    [
        {"url": "nope"},
        {"url": "http://[::1"},
        {"url": "http://user:word@example.com"},
        URL | {"method": "BREW"},
        URL | {"headers": {"Bad Name": "x"}},
        URL | {"headers": {"a": "\n"}},
        URL | {"headers": {"Connection": "x"}},
        URL | {"expected_status": []},
        URL | {"expected_status": ["300-200"]},
        URL | {"max_response_bytes": "x"},
        URL | {"follow_redirects": "x"},
        URL | {"query": {"a": {}}},
        URL | {"text": "", "json_body": 1},
    ],
)
def test_no_sentence_speaks_python(config: dict[str, Any]) -> None:
    (sentence,) = _told({"steps": [{"type": "http_request_node", "config": config}]})

    assert sentence.startswith(("`", "This "))
    assert sentence.endswith(".")
    assert not [word for word in PYTHON if word in sentence]
