"""Settings from files: `NAME_FILE` names a file that holds the value, as secrets of Docker and Kubernetes come."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
)

from app.core.errors import ConfigurationError

SUFFIX: Final = "_file"
MAX_BYTES: Final = 64 * 1024


class SecretFiles(PydanticBaseSettingsSource):
    """Reads what the environment, or else `.env`, names a file for. A value given directly goes first."""

    def __init__(
        self,
        settings: type[BaseSettings],
        environment: PydanticBaseSettingsSource,
        dotenv: PydanticBaseSettingsSource,
    ) -> None:
        super().__init__(settings)
        self._variables = {**_variables_of(dotenv), **_variables_of(environment)}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - its contract
        """Return the content of the setting's file, without the line break at its end; None when no file is named."""
        path = self._variables.get(field_name + SUFFIX)
        return (_content(path, field_name) if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the settings that files hold."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


def _variables_of(source: PydanticBaseSettingsSource) -> Mapping[str, str | None]:
    return source.env_vars if isinstance(source, EnvSettingsSource | DotEnvSettingsSource) else {}


def _content(path: str, name: str) -> str:
    variable = f"{name}{SUFFIX}".upper()
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"{variable}: {path} cannot be read: {reason}.") from None
    if not text or len(content) > MAX_BYTES:
        raise ConfigurationError(
            f"{variable}: {path} must hold the value of {name.upper()}, in at most {MAX_BYTES // 1024} KiB."
        )
    return text
