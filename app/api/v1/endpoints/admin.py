"""For operators: what the whole platform does."""

from fastapi import APIRouter

from app.api.deps import Services, needs
from app.api.openapi import problems
from app.core.permissions import Scope
from app.schemas.admin import PlatformStatus
from app.services.platform_status import platform_status

router = APIRouter(prefix="/admin", tags=["Operators"])


@router.get(
    "/status",
    dependencies=[needs(Scope.OPERATIONS_READ)],
    summary="What the platform does right now",
    responses=problems(401, 403),
)
def status(container: Services) -> PlatformStatus:
    """Show live runs by status, the queue, the workers, and what became of the runs of the last minute. For admins."""
    return platform_status(container.engine, container.metrics)
