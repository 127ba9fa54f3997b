"""Answer the webhook call that waits for the run."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from app.engine.sdk import Context, Field, Node, NodeConfig, NodeOutput

MAX_HEADERS = 50
WITHOUT_BODY = frozenset({204, 205, 304})
# What would break the answer, what is for the whole platform's address to say, and what proxies take for orders.
REFUSED_HEADER = re.compile(
    r"connection|content-encoding|content-length|date|host|keep-alive|proxy-.*|server|te|trailer|transfer-encoding|upgrade"
    r"|access-control-.*|alt-svc|clear-site-data|content-security-policy.*|cross-origin-.*|nel|origin-agent-cluster"
    r"|permissions-policy|referrer-policy|refresh|report-to|reporting-endpoints|service-worker-allowed|set-cookie2?"
    r"|strict-transport-security|x-content-type-options"
    r"|preference-applied|x-accel-.*|x-lighttpd-.*|x-reproxy-.*|x-run-id|x-sendfile.*",
    re.IGNORECASE,
)
# What browsers do not execute.
TEXT_OR_JSON = re.compile(
    r"(application/([\w.+-]+\+)?json|text/(plain|csv|markdown))\s*(;.*)?", re.IGNORECASE | re.ASCII
)


def _check_name(name: str) -> str:
    if REFUSED_HEADER.fullmatch(name):
        raise ValueError(f"`{name}` is not for a workflow to set: leave it out")
    return name


HeaderName = Annotated[
    str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$"), AfterValidator(_check_name)
]
HeaderValue = Annotated[
    str, Field(pattern=r"^[\x20-\x7e\xa0-\xff]*$", max_length=4096, coerce_numbers_to_str=True)
]


class Config(NodeConfig):
    """The answer."""

    status: int = Field(default=200, ge=200, le=599, description="The HTTP status.", examples=[201])
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        max_length=MAX_HEADERS,
        description="Headers to send along. `Content-Type` can be JSON or plain text.",
        examples=[{"X-Order": "${{ input.order_id }}"}],
    )
    body: Any = Field(
        default=None,
        description="The body: text is sent as it stands, anything else as JSON, null is no body.",
        examples=[{"accepted": True, "order": "${{ input.order_id }}"}],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.status in WITHOUT_BODY and self.body is not None:
            raise ValueError(f"An answer with status {self.status} has no body: leave it out.")
        for name, value in self.headers.items():
            if name.lower() == "content-type" and not TEXT_OR_JSON.fullmatch(value):
                raise ValueError(
                    f"An answer is JSON or text: {value!r} is no Content-Type for it; try application/json or text/plain"
                )
        return self


class Output(NodeOutput):
    """The answer."""

    status: int = Field(description="Its HTTP status.")
    headers: dict[str, str] = Field(description="Its headers.")
    body: Any = Field(description="Its body.")


class Respond(Node[Config, Output]):
    """Answer the webhook call that waits for this run (it was sent with `Prefer: wait=10`), and go on.

    The caller has the answer as soon as this step is done, whatever the run does after it; the first answer of a run
    counts. Without a call that waits, the answer is just kept.
    """

    type = "respond"
    pure = True
    title = "Respond"
    example = {"status": 201, "body": {"accepted": True, "order": "${{ input.order_id }}"}}

    async def run(self, config: Config, context: Context) -> Output:
        """Hand the answer to the engine."""
        context.respond(config.status, config.headers, config.body)
        return Output(status=config.status, headers=config.headers, body=config.body)
