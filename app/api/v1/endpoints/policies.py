"""Guardrail policies: of the platform, of teams, of workflows."""

from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Depends, Response

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    IfMatch,
    OpenSession,
    Services,
    WorkflowId,
    needs,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.permissions import Scope
from app.engine.guards.rules import PolicyRules
from app.schemas.policy import EXAMPLE_POLICY, PlatformPolicyForm, PolicyForm
from app.services.policies import Policies

router = APIRouter(tags=["Guardrails"], route_class=GuardedRoute)


async def get_policies(
    container: Services, caller: CurrentCaller, session: OpenSession
) -> Policies:
    """Return what the caller may do with policies."""
    return Policies(session, caller, container.clock)


async def team_id_in_path(team_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(team_id, "team")


CallerPolicies = Annotated[Policies, Depends(get_policies)]
TeamId = Annotated[str, Depends(team_id_in_path)]
Form = TypeVar("Form", bound=PolicyForm)
Rules = Annotated[
    PolicyRules,
    Body(
        openapi_examples={
            "guarded": {"summary": "A bit of everything", "value": EXAMPLE_POLICY},
            "nothing": {"summary": "No rules", "value": {}},
        }
    ),
]


@router.get(
    "/admin/policies",
    dependencies=[needs(Scope.OPERATIONS_READ)],
    summary="Read the platform's policy",
    responses=problems(401, 403),
)
def read_platform_policy(policies: CallerPolicies, response: Response) -> PlatformPolicyForm:
    """Return the platform's policy with its newest revisions, and those of teams. `ETag` goes into `If-Match` of a change."""
    return _tagged(policies.platform(), response)


@router.put(
    "/admin/policies",
    dependencies=[needs(Scope.POLICIES_WRITE)],
    summary="Replace the platform's policy",
    responses=problems(401, 403, 412, *BODY_PROBLEMS),
)
def replace_platform_policy(
    rules: Rules, if_match: IfMatch, policies: CallerPolicies, response: Response
) -> PlatformPolicyForm:
    """Save what holds for everybody. It counts within a second, also for runs in flight: before their next step."""
    return _tagged(policies.put_platform(rules, if_match), response)


@router.get(
    "/teams/{team_id}/policy",
    dependencies=[needs(Scope.TEAMS_READ)],
    summary="Read a team's policy",
    responses=problems(401, 403, 404),
)
def read_team_policy(team_id: TeamId, policies: CallerPolicies, response: Response) -> PolicyForm:
    """Return the policy of a team that I am in, and what it comes to with the platform's."""
    return _tagged(policies.of_team(team_id), response)


@router.put(
    "/teams/{team_id}/policy",
    dependencies=[needs(Scope.TEAMS_WRITE)],
    summary="Replace a team's policy",
    responses=problems(401, 403, 404, 412, *BODY_PROBLEMS),
)
def replace_team_policy(
    team_id: TeamId, rules: Rules, if_match: IfMatch, policies: CallerPolicies, response: Response
) -> PolicyForm:
    """Save what holds for all that the team owns. For its owners. 5 windows of 31 days in `max_runs` and 10 `budgets` at most."""
    return _tagged(policies.put_team(team_id, rules, if_match), response)


@router.get(
    "/workflows/{workflow_id}/policy",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="Read a workflow's policy",
    responses=problems(401, 403, 404),
)
def read_workflow_policy(
    workflow_id: WorkflowId, policies: CallerPolicies, response: Response
) -> PolicyForm:
    """Return the policy of a workflow, and what it comes to with those above it."""
    return _tagged(policies.of_workflow(workflow_id), response)


@router.put(
    "/workflows/{workflow_id}/policy",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Replace a workflow's policy",
    responses=problems(401, 403, 404, 412, *BODY_PROBLEMS),
)
def replace_workflow_policy(
    workflow_id: WorkflowId,
    rules: Rules,
    if_match: IfMatch,
    policies: CallerPolicies,
    response: Response,
) -> PolicyForm:
    """Save what holds for this workflow. It can only be stricter than what holds above it.

    5 windows of 31 days in `max_runs` and 10 `budgets` at most; 200 budgets in all such policies that one person has saved.
    """
    return _tagged(policies.put_workflow(workflow_id, rules, if_match), response)


def _tagged(form: Form, response: Response) -> Form:
    response.headers["ETag"] = f'"{form.revision}"'
    return form
