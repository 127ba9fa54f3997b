"""In whatever order people, workers and time act on runs, their moves are legal, and each can always reach an end."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import Servers
from tests.integration.engine.control_machine import machine

COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


def test_any_order_of_controls_and_faults_leaves_runs_whole(servers: Servers) -> None:
    run_state_machine_as_test(
        machine(servers.sqlite), settings=settings(COMMON, max_examples=25, stateful_step_count=30)
    )


@pytest.mark.long
def test_many_orders_of_controls_and_faults_leave_runs_whole(servers: Servers) -> None:
    run_state_machine_as_test(
        machine(servers.sqlite),
        settings=settings(COMMON, max_examples=300, stateful_step_count=60),
    )
