"""`generic`: any fields of text, all of them secret."""

import re
from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import ConfigDict, model_validator
from pydantic.config import JsonDict

from app.engine.credentials.kinds.data import CredentialData, Secret

MAX_FIELDS = 50
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_RULES: JsonDict = {
    "minProperties": 1,
    "maxProperties": MAX_FIELDS,
    "propertyNames": {"pattern": f"^{_NAME.pattern}$"},
}


class Generic(CredentialData):
    """Whatever a node of yours needs."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_RULES)
    __pydantic_extra__: dict[str, Secret]

    kind: ClassVar[str] = "generic"

    @model_validator(mode="after")
    def _has_fields(self) -> Self:
        names = self.__pydantic_extra__
        if not 1 <= len(names) <= MAX_FIELDS or not all(map(_NAME.fullmatch, names)):
            raise ValueError(
                f"must have 1 to {MAX_FIELDS} fields, whose names begin with a letter or _ and hold only letters, digits, "
                "_ and -"
            )
        return self

    def secrets(self) -> Sequence[str]:
        """Return the values of all fields."""
        return tuple(self.fields().values())
