"""Turn what a Pydantic model refuses into problems: a JSON pointer, a stable code, and how to mend it."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.core.errors import Problem
from app.engine.language.sentences import sentence_of

CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field"}


def pointer(*parts: object) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` Did you mean …?` when there is a close name or one that goes on like it, else nothing; case counts nothing."""
    folded, known = name.casefold(), {each.casefold(): each for each in names}
    close = get_close_matches(folded, known, n=1, cutoff=0.5)
    close = close or [each for each in known if each.startswith(folded)]
    return f" Did you mean {known[close[0]]!r}?" if close else ""


def from_validation(error: ValidationError, model: type[BaseModel], value: Any) -> list[Problem]:
    """Return one problem per place; of a union's refusals, the first stands for all."""
    problems: dict[str, Problem] = {}
    for fault in error.errors(include_url=False):
        place = existing_path(fault, value)
        problems.setdefault(
            pointer(*place),
            Problem(
                pointer(*place),
                CODES.get(fault["type"], "invalid_value"),
                _mend(fault, place, model),
            ),
        )
    return list(problems.values())


def existing_path(fault: ErrorDetails, value: Any) -> tuple[int | str, ...]:
    """Return the part of a fault's location that exists in the value (without the names of union branches)."""
    path: list[int | str] = []
    for part in fault["loc"]:
        if _holds(value, part):
            value = value[part]
            path.append(part)
    if fault["type"] == "missing":
        path.append(fault["loc"][-1])  # the place where the field should stand
    return tuple(path)


def _holds(value: Any, part: int | str) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _mend(fault: ErrorDetails, place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    owner = _model_at(model, place[:-1]) if fault["type"] == "extra_forbidden" else None
    if owner is not None:
        name = str(place[-1])
        fields = [field.alias or key for key, field in owner.model_fields.items()]
        return f"There is no field {name!r} here.{nearest(name, fields)} The fields are: {', '.join(fields)}."
    named = bool(place) and isinstance(place[-1], str)
    return sentence_of(fault, f"`{place[-1]}`" if named else "This")


def _model_at(model: type[BaseModel], place: Iterable[int | str]) -> type[BaseModel] | None:
    """Return the model that stands at a place; None where it may be one of several."""
    for part in place:
        if isinstance(part, int):  # in a list, whose items are what its annotation names
            continue
        named = {field.alias or key: field for key, field in model.model_fields.items()}
        found = [*_models(named[part].annotation)] if part in named else []
        if len(found) != 1:
            return None
        model = found[0]
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
