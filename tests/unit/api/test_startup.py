"""A server that cannot start says so in one sentence."""

from starlette.types import Message

from app.api.application import create_app
from app.core.config import Settings


async def test_a_missing_setting_is_told_without_a_traceback() -> None:
    app = create_app(Settings(_env_file=None))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith("DATABASE_URL is not set")
    assert "Traceback" not in message["message"]
