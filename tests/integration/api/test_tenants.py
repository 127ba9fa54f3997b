"""No list tells of what somebody has no role on, and none leaves out what they have one on."""

import random
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine

from app.api.container import Container
from app.core.permissions import TeamRole, highest
from tests.integration.api.conftest import Caller, Sign
from tests.integration.api.tenants import Owned, make_team, make_workflow, user_ids

EMAILS = [f"user{number}@example.com" for number in range(5)]
TEAMS = ["red", "blue", "green"]
SHARED = [TeamRole.VIEWER, TeamRole.RUNNER, TeamRole.EDITOR]


class Thing(NamedTuple):
    """A workflow with what belongs to it, whose it is, and whom it is shared with."""

    owned: Owned
    owner_id: str
    shared: Mapping[str, TeamRole]


class Platform(NamedTuple):
    """Who is where, and what there is."""

    teams: Mapping[str, Mapping[str, TeamRole]]
    things: list[Thing]

    def roles(self, user_id: str) -> Mapping[str, TeamRole]:
        """Return a user's roles in teams, by the teams' ids."""
        return {id_: members[user_id] for id_, members in self.teams.items() if user_id in members}

    def reach(self, user_id: str, least: TeamRole) -> Iterator[Thing]:
        """Yield that on which a user has a role, worked out anew from what was written down."""
        roles = self.roles(user_id)
        for thing in self.things:
            own = TeamRole.OWNER if thing.owner_id == user_id else None
            shares = [thing.shared.get(grantee) for grantee in (user_id, *roles)]
            role = highest(own, roles.get(thing.owner_id), *shares)
            if role is not None and role.includes(least):
                yield thing


def _platform(engine: Engine, dice: random.Random) -> Platform:
    users = list(user_ids(engine).values())
    teams = {}
    for name in TEAMS:
        members = {id_: dice.choice([*TeamRole]) for id_ in users if dice.random() < 0.4}
        teams[make_team(engine, members, name)] = members
    things = []
    for owner_id in [*users, *teams]:
        others = [id_ for id_ in (*users, *teams) if id_ != owner_id]
        shared = {id_: dice.choice(SHARED) for id_ in others if dice.random() < 0.15}
        things.append(Thing(make_workflow(engine, owner_id, shared), owner_id, shared))
    return Platform(teams, things)


async def _all(caller: Caller, path: str, **params: Any) -> list[str]:
    """Return the ids of a whole list, read in small pages."""
    found: list[str] = []
    query = params | {"limit": 3}
    while True:
        page = (await caller.get(path, params=query)).json()
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


def _newest_first(ids: Collection[str]) -> list[str]:
    return sorted(ids, reverse=True)


@pytest.fixture
async def people(sign_up: Sign) -> dict[str, Caller]:
    return {email: await sign_up(email) for email in EMAILS}


@pytest.mark.parametrize("seed", range(2))
async def test_lists_hold_what_one_has_a_role_on_and_nothing_else(
    people: dict[str, Caller], container: Container, seed: int
) -> None:
    platform = _platform(container.engine, random.Random(seed))

    for email, user_id in user_ids(container.engine).items():
        caller, roles = people[email], platform.roles(user_id)
        seen = [thing.owned for thing in platform.reach(user_id, TeamRole.VIEWER)]
        own = [one.owned for one in platform.things if one.owner_id in {user_id, *roles}]
        mine = [one.owned.event_id for one in platform.things if one.owner_id == user_id]
        workflows, runs = {one.workflow_id for one in seen}, {one.run_id for one in seen}
        owned = {one.workflow_id for one in own}
        assert await _all(caller, "/workflows") == _newest_first(workflows)
        assert await _all(caller, "/workflows", shared=False) == _newest_first(owned)
        assert await _all(caller, "/workflows", shared=True) == _newest_first(workflows - owned)
        assert await _all(caller, "/runs") == _newest_first(runs)
        assert await _all(caller, "/runs", status="queued") == []
        assert await _all(caller, "/teams") == _newest_first(roles)
        assert await _all(caller, "/events") == _newest_first(mine)
        assert await _all(caller, "/approvals") == []
        for thing in platform.things:
            of_it = {"workflow_id": thing.owned.workflow_id}
            is_seen = thing.owned in seen
            assert await _all(caller, "/runs", **of_it) == [thing.owned.run_id] * is_seen
        for team_id in platform.teams:
            of_team = {one.owned for one in platform.things if one.owner_id == team_id}
            answer = await caller.get("/events", params={"team": team_id})
            assert answer.status_code == (200 if team_id in roles else 404)
            answer = await caller.get("/workflows", params={"team": team_id})
            if team_id in roles:
                found = {item["id"] for item in answer.json()["items"]}
                assert found == {one.workflow_id for one in of_team}
            else:
                assert answer.status_code == 404


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_many_runs_at_once_are_those_on_which_one_is_a_runner(
    people: dict[str, Caller], container: Container, action: str
) -> None:
    platform = _platform(container.engine, random.Random(7))
    done: set[str] = set()

    for email, user_id in user_ids(container.engine).items():
        every = [thing.owned.run_id for thing in platform.things]
        mine = {thing.owned.run_id for thing in platform.reach(user_id, TeamRole.RUNNER)}
        answer = (await people[email].post(f"/runs/{action}", {"ids": every})).json()
        # The runs have failed: they can be retried, by the first who comes, and not be cancelled.
        assert set(answer["run_ids"]) == (mine - done if action == "retry" else set())
        done |= mine
