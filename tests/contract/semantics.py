"""What schemathesis is told of ours: what there is, who must not see it, and what fits the schema but not its meaning."""

import atexit
import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import requests
import schemathesis
from schemathesis.generation import GenerationMode

FORM = frozenset(
    {
        "missing", "extra_forbidden", "string_type", "bool_type", "int_type", "float_type", "list_type", "dict_type",
        "enum", "literal_error", "string_too_long", "string_too_short", "greater_than_equal", "less_than_equal",
        "too_long", "too_short", "none_required", "bool_parsing", "int_parsing", "float_parsing",
    }
)  # fmt: skip
"""Codes of Pydantic's that say something which the schema can say too."""
FORM_BODY = "application/x-www-form-urlencoded"
WORLD, REACHED = Path("world.json"), Path("reached.json")
"""In the folder that schemathesis runs in: what it is told, and which statuses each operation has answered with."""
EVERYBODY = ("all", "user", "team")
"""Scopes of kill switches that would stop whatever is called afterwards."""
reached: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
strangers: dict[str, int] = {}


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Fill in what there is: ids in addresses, and bodies that fit them; keep away from what would end the world.

    And describe access tokens as what they are on the wire: schemathesis does not know how OAuth 2.0 sends them. Only so
    does it see to it that every address wants one.
    """
    del context
    components = raw_schema["components"]
    components["securitySchemes"]["OAuth2PasswordBearer"] = {"type": "http", "scheme": "bearer"}
    scopes = components["schemas"]["SwitchScope"]
    scopes["enum"] = [scope for scope in scopes["enum"] if scope not in EVERYBODY]
    bulk = components["schemas"]["BulkRequest"]["properties"]
    for wide in ("status", "since", "until"):
        del bulk[wide]
    world = json.loads(WORLD.read_text())
    login = components["schemas"]["Body_login_api_v1_login_post"]["properties"]
    login["grant_type"] = {"enum": ["password", ""]}  # an empty field of a form counts as absent
    for path, operations in raw_schema["paths"].items():
        for method, operation in operations.items():
            _furnish(f"{method.upper()} {path}", operation, world)


@cache
def _world() -> dict[str, Any]:
    world: dict[str, Any] = json.loads(WORLD.read_text())
    return world


def _furnish(label: str, operation: dict[str, Any], world: dict[str, Any]) -> None:
    own = world["own"].get(label, {})
    for parameter in operation.get("parameters", []):
        name, place = parameter["name"], parameter["in"]
        if name in own or (place in ("path", "header") and name in world["values"]):
            value = own.get(name, world["values"].get(name))
            kind = "integer" if isinstance(value, int) else "string"
            parameter["schema"] = {"type": kind, "enum": [value]}
            parameter.pop("examples", None)
            parameter["example"] = value
    if label in world["bodies"]:
        for content in operation["requestBody"]["content"].values():
            content["example"] = world["bodies"][label]


@schemathesis.check
def refused_for_its_meaning(
    context: schemathesis.CheckContext,
    response: schemathesis.Response,
    case: schemathesis.Case[Any],
) -> None:
    """Hold the refusal of a request that fits the schema to a reason beyond it."""
    del context
    generated = case.meta.generation.mode if case.meta else None
    if generated is not GenerationMode.POSITIVE or response.status_code not in {400, 422}:
        return
    if response.status_code == 400:
        assert "64 bits" in response.json()["detail"], "JSON that fits the schema is malformed"
        return
    codes = {problem["code"] for problem in response.json().get("errors", [])}
    if case.media_type == FORM_BODY:  # an empty field of a form counts as absent
        codes.discard("missing")
    assert not codes & FORM, f"refused for its form, which fits the schema: {codes & FORM}"


@schemathesis.check
def hidden_from_strangers(
    context: schemathesis.CheckContext,
    response: schemathesis.Response,
    case: schemathesis.Case[Any],
) -> None:
    """Send what Ada was allowed to do to a thing of hers once more, as somebody who has no part in it: each operation once.

    What she has deleted is gone by then: `test_permission_matrix.py` has strangers delete what is there.
    """
    del context
    label = case.operation.label
    reached[label][response.status_code] += 1
    world = _world()
    is_hers = bool(case.path_parameters) and label not in world["public"]
    if not is_hers or label in strangers or not 200 <= response.status_code < 300:
        return
    again = response.request.copy()
    again.headers["Authorization"] = world["stranger"]
    with requests.Session() as session, session.send(again, stream=True, timeout=10) as answer:
        strangers[label] = answer.status_code
    assert strangers[label] in {403, 404}, f"a stranger was answered {strangers[label]}"


@atexit.register
def _tell() -> None:
    REACHED.write_text(json.dumps({"statuses": reached, "strangers": strangers}))
