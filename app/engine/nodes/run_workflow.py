"""Run another workflow."""

from datetime import timedelta
from typing import Any

from app.engine.sdk import Context, Fail, Field, Node, NodeConfig, NodeOutput, Suspend


class Config(NodeConfig):
    """Which workflow, on what, and whether to wait for it."""

    workflow: str = Field(
        min_length=1,
        max_length=200,
        description="Id or name of one of your workflows.",
        examples=["Ship an order"],
    )
    version: int | None = Field(
        default=None,
        ge=1,
        le=2_147_483_647,
        description="Unset: the newest when the step starts.",
        examples=[1],
    )
    input: Any = Field(
        default={},
        description="What its definition reads as `input`: any JSON, up to 1 MiB.",
        examples=[{"order_id": "${{ input.order_id }}"}],
    )
    wait: bool = Field(
        default=True,
        description="Wait for its end, and fail if it fails. False: start it, and go on at once.",
    )


class Output(NodeOutput):
    """The run that was started, and what came of it."""

    run_id: str = Field(description="Id of the run.")
    status: str = Field(description="`succeeded`; without waiting `queued`.")
    output: Any = Field(description="Output of the run; without waiting null.")


class RunWorkflow(Node[Config, Output]):
    """Start a run of another of your workflows, and wait for its end; no worker is held meanwhile.

    If the run fails, times out or is cancelled, the step fails, and its retry policy may start another one. If the step
    ends otherwise, because its run is cancelled or over or its `timeout_seconds` has passed, the run is cancelled.
    """

    type = "run_workflow"
    example = {"workflow": "Ship an order", "input": {"order_id": "${{ input.order_id }}"}}

    async def run(self, config: Config, context: Context) -> Output | Suspend:
        """Start the run; its end ends the wait."""
        run_id = await context.start_run(config.workflow, config.input, version=config.version)
        if not config.wait:
            return Output(run_id=run_id, status="queued", output=None)
        seconds = context.timeout_seconds
        return Suspend(
            "run",
            None if seconds is None else context.now() + timedelta(seconds=seconds),
            Fail(
                f"The run {run_id} took longer than the step's timeout_seconds ({seconds or 0:g}) and is cancelled.",
                code="step_timed_out",
            ),
            shown={"run_id": run_id},
            data={"child_run_id": run_id},
        )
