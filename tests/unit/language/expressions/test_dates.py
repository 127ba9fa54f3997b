from typing import Any

import pytest

from app.engine.language.expressions import ExpressionFault, compile_expression

NOW = "2026-01-31T09:30:05Z"


def value_of(source: str) -> Any:
    return compile_expression(source).evaluate({"now": NOW})


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("date(now)", NOW),
        ("date('2026-01-31')", "2026-01-31T00:00:00Z"),
        ("date('2026-01-31T09:30')", "2026-01-31T09:30:00Z"),
        ("date('2026-01-31 09:30:01.25z')", "2026-01-31T09:30:01.250000Z"),
        ("date('2026-01-31T09:30:00.123456789Z')", "2026-01-31T09:30:00.123456Z"),
        ("date('2026-01-31T09:30:00+02:00')", "2026-01-31T09:30:00+02:00"),
        ("date('2026-01-31T09:30:00-05:30')", "2026-01-31T09:30:00-05:30"),
        ("date(0)", "1970-01-01T00:00:00Z"),
        ("date(1.5)", "1970-01-01T00:00:01.500000Z"),
        ("date(date(now))", NOW),
        ("date(now) + duration('1d')", "2026-02-01T09:30:05Z"),
        ("duration('1w') + date('2026-01-01')", "2026-01-08T00:00:00Z"),
        ("date(now) - duration('30m5s')", "2026-01-31T09:00:00Z"),
        ("date(now) - date('2026-01-31')", 34205),
        ("duration('1h30m')", 5400),
        ("duration('1500ms')", 1.5),
        ("duration('-1.5h')", -5400),
        ("duration(90)", 90),
        ("duration(duration('1s'))", 1),
        ("duration('1h') + duration('1m')", 3660),
        ("duration('1h') - duration('1m')", 3540),
        ("-duration('1s')", -1),
        ("[duration('1s'), date('2026-01-01')]", [1, "2026-01-01T00:00:00Z"]),
        ("date('2026-01-31T10:00:00+01:00') == date('2026-01-31T09:00:00Z')", True),
        ("date(now) > date('2026-01-31')", True),
        ("duration('60s') == duration('1m')", True),
        ("duration('1s') == 1", False),
        ("date(now) == now", False),
        ("date(now) - date('2026-01-01') > duration('30d')", True),
        ("max(date('2026-01-01'), date('2025-01-01')).year()", 2026),
        ("[now.year(), now.month(), now.day()]", [2026, 1, 31]),
        ("[now.hour(), now.minute(), now.second(), now.weekday()]", [9, 30, 5, 6]),
        ("timestamp('1970-01-01T00:01:00+00:01')", 0),
        ("now.format_date('DD.MM.YYYY HH:mm:ss, %Y {0}')", "31.01.2026 09:30:05, %Y {0}"),
    ],
)
def test_dates_and_durations(source: str, value: Any) -> None:
    assert value_of(source) == value


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("date('yesterday')", "invalid_value"),
        ("date('2026-13-01')", "invalid_value"),
        ("date('2026-02-30')", "invalid_value"),
        ("date('2026-01-01T25:00')", "invalid_value"),
        ("date('2026-01-01T00:00:00+99:00')", "invalid_value"),
        ("date('2026-01-31' + now)", "invalid_value"),
        ("date(null)", "type_mismatch"),
        ("date(1e300)", "limit_exceeded"),
        ("date(1e13)", "limit_exceeded"),
        ("duration('soon')", "invalid_value"),
        ("duration('')", "invalid_value"),
        ("duration('1 h')", "invalid_value"),
        ("duration('99999999999999999999w')", "limit_exceeded"),
        ("duration(1e300)", "limit_exceeded"),
        ("duration(null)", "type_mismatch"),
        ("duration('999999999d') + duration('999999999d')", "limit_exceeded"),
        ("date('9999-12-31') + duration('1d')", "limit_exceeded"),
        ("date('0001-01-01') - duration('1d')", "limit_exceeded"),
        ("date(now) + date(now)", "type_mismatch"),
        ("date(now) + 1", "type_mismatch"),
        ("duration('1s') - date(now)", "type_mismatch"),
        ("date(now) > now", "type_mismatch"),
        ("date(now) * 2", "type_mismatch"),
        ("-date(now)", "type_mismatch"),
        ("year(2026)", "type_mismatch"),
        ("now.format_date(['YYYY'].map(x, x + x + x + x).map(x, x + x + x + x).map(x, x + x + x + x)[0])",
         "invalid_value"),
    ],
)  # fmt: skip
def test_what_is_no_date_is_a_fault(source: str, code: str) -> None:
    with pytest.raises(ExpressionFault) as caught:
        value_of(source)

    assert caught.value.code == code


def test_the_edges_of_the_calendar_compare_and_hash() -> None:
    edge = "date('0001-01-01T00:00:00+14:00')"

    assert value_of(f"{edge} < date(now)") is True
    assert value_of(f"[{edge}, {edge}].unique().size()") == 1
