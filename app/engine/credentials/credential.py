"""A credential as a node gets it. Values only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

ANY_HOST: Final = "*"


class Credential(Mapping[str, str]):
    """The fields of a credential. Keep it no longer than the attempt, and log or return none of its values."""

    def __init__(
        self, name: str, kind: str, data: Mapping[str, str], allowed_hosts: Sequence[str]
    ) -> None:
        self.name, self.kind, self.allowed_hosts = name, kind, tuple(allowed_hosts)
        self._data = dict(data)

    def __getitem__(self, field: str) -> str:
        """Return a field."""
        return self._data[field]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the fields."""
        return iter(self._data)

    def __len__(self) -> int:
        """Return how many fields there are."""
        return len(self._data)

    def __repr__(self) -> str:
        """Say which it is, and nothing of what it holds."""
        return f"<credential {self.name!r} of kind {self.kind}>"


def permits(allowed_hosts: Sequence[str], host: str) -> bool:
    """Tell whether something may be sent to a host: one of the list, one below `*.example.com`, or any (`*`)."""
    name = host.lower().strip("[]").removesuffix(".")
    is_address = ":" in name or name.rpartition(".")[2].isdigit()
    return any(
        allowed in (name, ANY_HOST)
        or (allowed.startswith("*.") and name.endswith(allowed[1:]) and not is_address)
        for allowed in allowed_hosts
    )
