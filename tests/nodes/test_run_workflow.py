from datetime import timedelta

from app.engine.nodes.run_workflow import Config, Output, RunWorkflow
from app.engine.sdk import Fail, Suspend
from tests.nodes.fakes import NOW, FakeContext

CHILD = "0190b0c8-0000-7000-8000-000000000002"


async def test_without_waiting_it_tells_the_run_at_once() -> None:
    context = FakeContext()

    answer = await RunWorkflow().run(
        Config(workflow="Ship", input={"n": 1}, wait=False, version=3), context
    )

    assert answer == Output(run_id=CHILD, status="queued", output=None)
    assert context.started == [("Ship", {"n": 1}, 3)]


async def test_it_waits_for_the_run_without_end() -> None:
    answer = await RunWorkflow().run(Config(workflow="Ship"), FakeContext())

    assert isinstance(answer, Suspend)
    assert (answer.kind, answer.until) == ("run", None)
    assert answer.shown == {"run_id": CHILD}
    assert answer.data == {"child_run_id": CHILD}


async def test_the_time_out_of_the_step_limits_the_wait() -> None:
    answer = await RunWorkflow().run(Config(workflow="Ship"), FakeContext(timeout_seconds=90))

    assert isinstance(answer, Suspend)
    assert answer.until == NOW + timedelta(seconds=90)
    assert isinstance(answer.on_due, Fail)
    assert answer.on_due.code == "step_timed_out"
