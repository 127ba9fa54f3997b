"""Swagger UI works without internet, and OpenAPI describes every error."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.api.application import create_app
from app.api.openapi import VERSION
from app.core.config import Settings
from app.schemas.event import EventDraft
from tests.integration.api.conftest import Caller

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(_env_file=None)).openapi()


def _operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


async def test_the_page_loads_only_files_of_ours(ada: Caller) -> None:
    page = await ada.http.get("/docs")

    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(files) == 6
    assert not any(file.startswith(("http", "//")) for file in files)
    for file in files:
        answer = await ada.http.get(f"/{file}")
        assert (answer.status_code, len(answer.content) > 0) == (200, True)
    assert "max-age" in (await ada.http.get("/docs/swagger-ui.css")).headers["cache-control"]
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text


async def test_other_files_are_not_served(ada: Caller) -> None:
    for name in ("__init__.py", "..%2fopenapi.py", "nothing.js"):
        assert (await ada.http.get(f"/docs/{name}")).status_code == 404


async def test_the_root_leads_to_the_page(ada: Caller) -> None:
    answer = await ada.http.get("/")

    assert (answer.status_code, answer.headers["location"]) == (307, "docs")


def test_the_authorize_button_logs_in(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]

    flow = schemes["OAuth2PasswordBearer"]["flows"]["password"]
    assert flow["tokenUrl"] == "/api/v1/login"


def test_every_operation_has_words_a_tag_and_errors_as_problems(document: dict[str, Any]) -> None:
    tags = [tag["name"] for tag in document["tags"]]
    for name, operation in _operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"][0] in tags, name
        for status, response in operation["responses"].items():
            if status >= "400" and "/health" not in name:
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))

    assert names <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in str(document)


async def test_the_first_example_of_a_workflow_can_be_sent_as_it_stands(
    ada: Caller, document: dict[str, Any]
) -> None:
    body = document["paths"]["/api/v1/workflows"]["post"]["requestBody"]
    examples = list(body["content"]["application/json"]["examples"].values())

    answers = [await ada.post("/workflows", example["value"]) for example in examples]

    assert [answer.status_code for answer in answers] == [201] * len(examples)
    assert examples[0]["value"]["name"] == "Stripe to Discord Bridge"


def test_the_version_is_the_projects() -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()


async def test_the_catalogue_can_be_read(ada: Caller) -> None:
    listed = (await ada.get("/nodes")).json()
    one = await ada.get("/nodes/log")
    none = await ada.get("/nodes/nope")

    assert "http_request_node" in [node["type"] for node in listed["items"]]
    assert listed["failures"] == []
    assert one.json() in listed["items"]
    assert none.status_code == 404


def test_a_correlation_id_tells_its_bounds_also_where_a_number_may_stand_for_it() -> None:
    schema = EventDraft.model_json_schema()["properties"]["correlation_id"]

    assert schema["anyOf"] == [
        {"type": "string", "minLength": 1, "maxLength": 255},
        {"type": "number"},
        {"type": "null"},
    ]
