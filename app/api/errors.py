"""The one place where errors meet HTTP: classes become status codes and problem documents (RFC 9457)."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from app.api.refusals import count_refusal
from app.core.errors import (
    AutomateError,
    BodyTooLarge,
    BodyTooSlow,
    Conflict,
    ExpressionError,
    InvalidInput,
    MalformedBody,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Problem,
    TooManyRequests,
    Unavailable,
    UnsupportedMedia,
)
from app.core.logging import get_logger
from app.engine.language.sentences import sentence_of

PROBLEM_JSON: Final = "application/problem+json"
STATUSES: Final[Mapping[type[AutomateError], int]] = {
    InvalidInput: 422,
    ExpressionError: 422,
    MalformedBody: 400,
    BodyTooLarge: 413,
    BodyTooSlow: 408,
    UnsupportedMedia: 415,
    NotAuthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    TooManyRequests: 429,
    Unavailable: 503,
}
DATABASE_AWAY: Final = "The database does not answer right now: try again shortly."
INTERNAL_ERROR: Final = "internal_error"
BROKEN: Final = "Something went wrong on our side; it has been logged. Try again, and tell the operator if it stays."
log = get_logger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Make every error that reaches the application a problem document."""
    app.add_exception_handler(AutomateError, _handle_own)
    app.add_exception_handler(RequestValidationError, _handle_validation)
    app.add_exception_handler(HTTPException, _handle_http)
    for outage in (OperationalError, InterfaceError, PoolTimeoutError):
        app.add_exception_handler(outage, _handle_outage)


async def answer_to(request: Request, error: Exception) -> Response | None:
    """Return the problem document of an error, as the application's own handlers would; None for one that nobody expected."""
    match error:
        case AutomateError():
            return await _handle_own(request, error)
        case HTTPException():
            return await _handle_http(request, error)
        case OperationalError() | InterfaceError() | PoolTimeoutError():
            return await _handle_outage(request, error)
        case _:
            return None


def problem_of(error: AutomateError) -> Response:
    """Return the problem document of one of our own errors."""
    status = next((STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES), 500)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem_of_crash(error)
    headers = {}
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, BodyTooSlow):
        headers["Connection"] = "close"
    if isinstance(error, TooManyRequests | Unavailable):
        headers["Retry-After"] = str(error.retry_after_seconds)
    problems = error.problems if isinstance(error, InvalidInput) else ()
    return problem_response(status, error.code, error.detail, problems, headers)


def problem_of_crash(error: Exception) -> Response:
    """Log what nobody expected; return a problem document that says nothing of our inside."""
    log.error("request_crashed", exc_info=error)
    return problem_response(500, INTERNAL_ERROR, BROKEN)


def problem_response(
    status: int,
    code: str,
    detail: str,
    problems: Iterable[Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document."""
    document: dict[str, Any] = {
        "type": f"urn:automateos:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
    errors = [{"pointer": p.pointer, "code": p.code, "detail": p.detail} for p in problems]
    if errors:
        document["errors"] = errors
    return Response(orjson.dumps(document), status, headers, PROBLEM_JSON)


def validation_problems(error: RequestValidationError) -> list[Problem]:
    """Return what does not fit the declared form of a request."""
    return [_validation_problem(fault) for fault in error.errors()]


async def _handle_own(request: Request, error: Exception) -> Response:
    assert isinstance(error, AutomateError)  # noqa: S101 - registered for this class
    count_refusal(request.scope, error.code)
    return problem_of(error)


async def _handle_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    count_refusal(request.scope, InvalidInput.code)
    problems = validation_problems(error)
    what = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    detail = f"The request has {what}: mend what `errors` lists and send it again."
    return problem_response(422, InvalidInput.code, detail, problems)


async def _handle_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    if isinstance(error.__cause__, AutomateError):
        # FastAPI wraps whatever stops it from reading a body.
        return await _handle_own(request, error.__cause__)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
    count_refusal(request.scope, code)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"There is nothing at {request.url.path}: /docs lists every address."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not possible here: /docs lists what is."
        return problem_response(405, code, detail, headers={"Allow": _allowed_methods(request)})
    return problem_response(error.status_code, code, detail, headers=error.headers)


def _allowed_methods(request: Request) -> str:
    """Return what is possible at an address, by all of its routes: the framework names those of the first."""
    fitting = [
        route
        for route in iter_route_contexts(request.app.routes)
        if route.path is not None and compile_path(route.path)[0].match(request.url.path)
    ]
    # `/runs/cancel` also fits `/runs/{run_id}`, which is another address.
    address = min((str(route.path) for route in fitting), key=lambda path: path.count("{"))
    same = [route for route in fitting if route.path == address]
    return ", ".join(sorted({method for route in same for method in route.methods or ()}))


async def _handle_outage(request: Request, error: Exception) -> Response:
    count_refusal(request.scope, Unavailable.code)
    log.warning("database_unavailable", error=str(getattr(error, "orig", error)).strip())
    return problem_of(Unavailable(DATABASE_AWAY))


def _validation_problem(fault: Mapping[str, Any]) -> Problem:
    place, *path = fault["loc"]
    if place == "body":
        return Problem(_pointer(path), fault["type"], sentence_of(fault, _subject(path)))
    name = ".".join(str(part) for part in path)
    subject = f"{str(place).capitalize()} parameter `{name}`"
    return Problem("", fault["type"], sentence_of(fault, subject))


def _subject(path: Sequence[str | int]) -> str:
    if not path:
        return "A JSON body"
    return f"`{path[-1]}`" if isinstance(path[-1], str) else "This"


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
