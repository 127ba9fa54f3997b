"""A server that cannot start says so in one sentence."""

from starlette.types import Message

from app.api.application import create_app
from app.core.config import Settings


async def _failure_of(settings: Settings) -> str:
    """Return what the server is told when the application cannot start."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await create_app(settings)(scope, receive, send)
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    told: str = message["message"]
    return told


async def test_a_missing_setting_is_told_without_a_traceback() -> None:
    told = await _failure_of(Settings(_env_file=None))

    assert told.startswith("DATABASE_URL is not set")
    assert "Traceback" not in told


async def test_a_wrong_egress_allow_is_told_before_anything_is_connected() -> None:
    settings = Settings(
        _env_file=None,
        database_url="sqlite:///x",
        redis_url="redis://x",
        egress_allow=("10.0.0.0/99",),
    )

    assert "10.0.0.0/99" in await _failure_of(settings)
