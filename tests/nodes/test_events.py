"""The nodes that wait for events and emit them."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from app.engine.nodes import emit_event, wait_for_event
from app.engine.nodes.emit_event import EmitEvent
from app.engine.nodes.wait_for_event import WaitForEvent
from app.engine.sdk import Done, Fail, Suspend
from tests.nodes.fakes import NOW, FakeContext, expression


async def _wait(**config: Any) -> Suspend:
    settings = wait_for_event.Config(event_type="paid", **config)
    return await WaitForEvent().run(settings, FakeContext())


async def test_it_waits_for_what_its_config_names() -> None:
    suspend = await _wait(correlation_id=42, filter=expression(lambda _: True))

    assert (suspend.kind, suspend.until) == ("event", None)
    assert suspend.shown == {"event_type": "paid", "correlation_id": "42"}
    assert suspend.data == {**suspend.shown, "filter": {"source": "a function", "scope": {}}}


async def test_a_time_out_fails_or_takes_the_port() -> None:
    failing = await _wait(timeout_seconds=90)
    going_on = await _wait(timeout_seconds=90, timeout_action="port")

    assert failing.until == going_on.until == NOW + timedelta(seconds=90)
    assert isinstance(failing.on_due, Fail)
    assert failing.on_due.code == "event_timed_out"
    assert isinstance(going_on.on_due, Done)
    assert going_on.on_due.port == "timeout"


@pytest.mark.parametrize(
    ("value", "text"), [("A-1", "A-1"), (42, "42"), (42.0, "42"), (1.5, "1.5"), (None, None)]
)
def test_a_correlation_id_is_text_or_a_number(value: Any, text: str | None) -> None:
    assert wait_for_event.Config(event_type="paid", correlation_id=value).correlation_id == text


@pytest.mark.parametrize("value", [True, "", ["a"], {"a": 1}, "x" * 256])
def test_anything_else_is_no_correlation_id(value: Any) -> None:
    with pytest.raises(ValidationError):
        wait_for_event.Config(event_type="paid", correlation_id=value)


async def test_an_event_is_emitted_through_the_engine() -> None:
    context = FakeContext()
    config = emit_event.Config(event_type="shipped", correlation_id=7, payload={"n": 1})

    output = await EmitEvent().run(config, context)

    assert output.id == "event-1"
    assert context.events == [{"type": "shipped", "correlation_id": "7", "payload": {"n": 1}}]
