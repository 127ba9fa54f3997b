"""Settings: one frozen record, read at the entry points and passed down. `.env.example` lists the same names."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.core.errors import ConfigurationError
from app.core.secret_files import SecretFiles
from app.core.setting_values import Addresses, CommaSeparated, Issuer, OidcScopes, RoleMap

SECRET_KEY_FILE = "secret_key"
MIN_SECRET_BYTES = 32
KEY_TTL_SECONDS = 7 * 86_400


class Settings(BaseSettings):
    """What an operator can set, by environment variable or in `.env`."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - one folder for all; ours are named one by one
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment first, then `.env`, then the files that `NAME_FILE` in either names."""
        files = SecretFiles(settings_cls, env_settings, dotenv_settings)
        return init_settings, env_settings, dotenv_settings, files

    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port that the API listens on.")
    data_dir: Path = Field(
        default=Path("data"),
        description="Where the embedded servers, the generated secret key and logs live.",
    )
    database_url: str | None = Field(
        default=None,
        description="Unset: embedded Postgres. Else postgresql://user:password@host/name (Postgres 16 or newer), or sqlite:///file.db on one machine.",
    )
    migration_database_url: SecretStr | None = Field(
        default=None,
        description="The owner of the tables, for migrations alone: they make the login of DATABASE_URL, which then owns "
        "nothing. Unset: DATABASE_URL.",
    )
    redis_url: str | None = Field(
        default=None, description="Unset: embedded Redis. Else redis://[:password@]host:6379/0."
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Signs access tokens; at least 32 bytes. Unset: generated once into DATA_DIR/secret_key.",
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Encrypt credentials and webhook secrets: id:base64 of 32 bytes, separated by commas, the newest first. "
        "Unset: a key made from SECRET_KEY.",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes to run.")
    api_workers: int = Field(
        default=1, ge=1, le=64, description="API processes to run, on one port."
    )
    runs_per_worker: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Runs that one worker process has in flight at most; 8/9 of them for one owner.",
    )
    egress_allow: CommaSeparated = Field(
        default=(),
        description="CIDRs or host names, separated by commas, that HTTP steps may reach although they are private.",
    )
    plugins_dir: Path | None = Field(
        default=None,
        description="A folder of your own node files, loaded beside the built-in ones.",
    )
    plugin_isolation: bool = Field(
        default=False,
        description="Run every node type from outside the package in a process of its own, with limits.",
    )
    isolated_processes: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Processes for isolated steps that one worker keeps at most; further steps wait for one.",
    )
    registration: Literal["open", "closed"] = Field(
        default="open", description="`closed`: accounts are made by invitation or `user create`."
    )
    public_url: str | None = Field(
        default=None,
        description="How the outside reaches the API, used in webhook_url. Unset: as the request came in.",
    )
    trusted_proxies: Addresses = Field(
        default=(),
        description="Addresses or CIDRs of reverse proxies, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    )
    rate_limit_per_user: str | None = Field(
        default="600000/minute",
        description="How often one account may call the API, such as 6000/minute; `off`: as often as it likes.",
    )
    rate_limit_per_key: str | None = Field(
        default="600000/minute",
        description="How often one API key may be used; each use counts for its account as well.",
    )
    rate_limit_per_address: str | None = Field(
        default=None,
        description="How often one address (of IPv6: one /64) may call, whoever it is. Unset: as often as it likes.",
    )
    rate_limit_per_workflow: str | None = Field(
        default=None,
        description="How many calls one webhook takes from those that it lets in. Unset: as many as come.",
    )
    access_token_minutes: int = Field(
        default=60, ge=1, le=60 * 24 * 30, description="Life of an access token."
    )
    refresh_token_days: int = Field(
        default=30, ge=1, le=365, description="How long a session lasts that is not carried on."
    )
    oidc_issuer: Issuer | None = Field(
        default=None,
        description="Sign-in by OpenID Connect: the provider's issuer, https://… exactly as it names itself. Unset: none. "
        "Its redirect URI is PUBLIC_URL/api/v1/oidc/callback.",
    )
    oidc_client_id: str | None = Field(
        default=None, validate_default=True, description="Our name at the provider."
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="Our secret at the provider; unset for a public client."
    )
    oidc_scopes: OidcScopes = Field(
        default="openid email profile", description="What the provider is asked for."
    )
    oidc_role_claim: str | None = Field(
        default=None,
        description="The claim of the id_token that names groups, such as `groups`. With it, each sign-in sets the role.",
    )
    oidc_role_map: RoleMap = Field(
        default=(),
        description="Roles of those groups, separated by commas: `group=role`. Without a group that is named, `member`.",
    )
    oidc_allow_registration: bool = Field(
        default=False, description="Whoever signs in at the provider gets an account."
    )
    max_body_bytes: int = Field(
        default=1_048_576,
        ge=1024,
        le=104_857_600,
        description="Largest request body that the API takes.",
    )
    request_timeout_seconds: float = Field(
        default=15.0, ge=1, le=600, description="How long a request body may take to arrive."
    )
    max_output_bytes: int = Field(
        default=16_777_216,
        ge=1024,
        le=104_857_600,
        description="Largest output of one step or run, as JSON; beyond 256 KiB it lies in the artifact store.",
    )
    artifacts_url: str | None = Field(
        default=None,
        description="Where large outputs lie, shared by all workers and the API: file:///folder or s3://bucket/prefix "
        "(with AWS_* variables). Unset: DATA_DIR/artifacts.",
    )
    audit_anchor: Path | None = Field(
        default=None,
        description="File to which the end of the audit log is noted once a minute, best kept where the database's "
        "administrators cannot write. Unset: DATA_DIR/audit-anchors.jsonl.",
    )
    idempotency_key_ttl_seconds: int = Field(
        default=KEY_TTL_SECONDS,
        ge=1,
        le=315_360_000,
        description="How long a repeated Idempotency-Key, webhook-id or dedupe key finds its first run; a workflow's "
        "`dedupe.ttl_seconds` goes first.",
    )
    event_ttl_seconds: float = Field(
        default=86_400.0,
        ge=1,
        le=366 * 86_400,
        description="How long an event that no run waits for is kept for later ones, and its id is remembered.",
    )
    lease_seconds: float = Field(
        default=9.0,
        ge=1,
        le=300,
        description="A worker that has not renewed its lease for so long is taken for dead.",
    )
    stall_seconds: float = Field(
        default=5.0,
        ge=0.5,
        le=300,
        description="A node that blocks a worker's event loop for so long is interrupted.",
    )
    shutdown_seconds: float = Field(
        default=20.0, ge=0, le=600, description="How long steps in flight may go on after TERM."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="`json` for log collectors, `text` for people."
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Port on HOST at which a worker shows its own /metrics; 0: none. `python3 main.py` counts up from it, "
        "one port for each worker. The API shows /metrics on its own port.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="Needed to read /metrics, as `Authorization: Bearer …`. Unset: only this machine and private networks may read it.",
    )

    @property
    def owner_url(self) -> str | None:
        """Return MIGRATION_DATABASE_URL, if it is set."""
        owner = self.migration_database_url
        return None if owner is None else owner.get_secret_value()

    @property
    def metrics_token_text(self) -> str | None:
        """Return the token that readers of /metrics must send, if there is one."""
        return None if self.metrics_token is None else self.metrics_token.get_secret_value()

    @field_validator("oidc_client_id")
    @classmethod
    def _goes_with_issuer(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("oidc_issuer") is not None and not value:
            raise ValueError("is needed beside OIDC_ISSUER")
        return value

    @field_validator("plugins_dir")
    @classmethod
    def _is_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is no folder; make it, or correct the path")
        return value

    @field_validator("secret_key")
    @classmethod
    def _strong_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(
                f"needs at least {MIN_SECRET_BYTES} bytes; make one with: openssl rand -hex 32"
            )
        return value


def load_settings() -> Settings:
    """Read the settings from the environment and `.env`.

    Raises:
        ConfigurationError: one sentence that names each variable that does not hold.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"The settings do not hold: {faults}.") from None


def require_secret_key(settings: Settings) -> str:
    """Return the signing key: the setting, or the one that `python3 main.py` generated into DATA_DIR.

    Raises:
        ConfigurationError: when there is neither, or the file holds too little.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / SECRET_KEY_FILE
    try:
        key = path.read_text().strip()
    except OSError:
        raise ConfigurationError(
            "SECRET_KEY is not set: set it to 32 random bytes or more (openssl rand -hex 32), or start with `python3 main.py`."
        ) from None
    if len(key.encode()) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"{path} holds less than {MIN_SECRET_BYTES} bytes: delete it, a new one is made."
        )
    return key
