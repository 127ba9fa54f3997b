"""The building blocks: what a step can be."""

from fastapi import APIRouter

from app.api.body import GuardedRoute
from app.api.deps import Services, needs
from app.api.openapi import problems
from app.core.errors import NotFound
from app.core.permissions import Scope
from app.engine.language.problems import nearest
from app.schemas.node import LoadFailureForm, NodeForm, NodeList

router = APIRouter(
    prefix="/nodes",
    tags=["Nodes"],
    route_class=GuardedRoute,
)


@router.get(
    "",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="List node types",
    responses=problems(401),
)
def list_nodes(container: Services) -> NodeList:
    """Return every node type with its schemas and an example, and the files that failed to load, with their errors."""
    catalogue = container.catalogue
    return NodeList(
        items=[NodeForm.model_validate(info) for info in catalogue.types()],
        failures=[LoadFailureForm.model_validate(failure) for failure in catalogue.failures],
    )


@router.get(
    "/{node_type}",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="Read a node type",
    responses=problems(401, 404),
)
def read_node(node_type: str, container: Services) -> NodeForm:
    """Return one node type."""
    found = container.catalogue.find(node_type)
    if found is None:
        suggestion = nearest(node_type[:100], container.catalogue.names())
        raise NotFound(
            f"There is no node type {node_type[:40]!r}.{suggestion} GET /api/v1/nodes lists all."
        )
    return NodeForm.model_validate(found)
