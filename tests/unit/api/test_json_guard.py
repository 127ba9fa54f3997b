"""The limits of JSON from outside."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import MalformedBody
from app.core.json_guard import MAX_DEPTH, MAX_NODES, check_json, parse_json

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=9), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON_VALUES)
def test_what_can_be_kept_comes_through_unchanged(value: Any) -> None:
    assert parse_json(orjson.dumps(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    with suppress(MalformedBody):
        assert parse_json(body) == json.loads(body)


@given(st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1))
def test_integers_beyond_64_bits_are_refused(number: int) -> None:
    with pytest.raises(MalformedBody, match="64 bits"):
        parse_json(b'{"number": [%d]}' % number)


def test_the_deepest_value_is_kept_and_the_next_refused() -> None:
    parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)

    with pytest.raises(MalformedBody, match="flatten"):
        parse_json(b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1))


def test_the_number_of_values_is_bounded() -> None:
    check_json([1] * (MAX_NODES - 1))

    with pytest.raises(MalformedBody, match="in parts"):
        check_json([1] * MAX_NODES)


def test_an_error_says_where_it_is() -> None:
    with pytest.raises(MalformedBody, match="line 2, column 6"):
        parse_json(b'{"a": 1,\n"b": nope}')
