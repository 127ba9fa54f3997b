"""What every kind of credential is: fields, some of which are secret."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, StringConstraints

MIN_SECRET_CHARACTERS = 6
"""Shorter values stand in too many texts to be taken out of them again."""
MAX_SECRET_CHARACTERS = 16_384

Secret = Annotated[
    str,
    StringConstraints(min_length=MIN_SECRET_CHARACTERS, max_length=MAX_SECRET_CHARACTERS),
]
HeaderSecret = Annotated[
    str,
    StringConstraints(
        min_length=MIN_SECRET_CHARACTERS, max_length=8_192, pattern=r"^[!-~]([ -~]*[!-~])?$"
    ),
]
"""What a header can carry: printable ASCII, without blanks at its ends."""
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$")]
Plain = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]


class CredentialData(BaseModel):
    """The data of one kind. What does not fit is refused without being repeated."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: ClassVar[str]
    over_http: ClassVar[bool] = False
    """Whether `http_request_node` can send it; then it must say to which hosts."""

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Show nothing of what it holds."""
        return []

    def fields(self) -> Mapping[str, str]:
        """Return what nodes see of it."""
        return {name: str(value) for name, value in self.model_dump().items() if value is not None}

    @abstractmethod
    def secrets(self) -> Sequence[str]:
        """Return the values that must not be seen anywhere."""

    def in_expressions(self) -> Any:
        """Return what `secrets.<name>` is: its main value, or an object of its fields."""
        return dict(self.fields())

    def hosts(self) -> Sequence[str]:
        """Return hosts that it names itself, and to which it goes."""
        return ()
