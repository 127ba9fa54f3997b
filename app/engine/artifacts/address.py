"""Open the store that ARTIFACTS_URL names."""

from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.engine.artifacts.folder import FolderObjects
from app.engine.artifacts.store import ArtifactStore, Objects

DEFAULT_FOLDER = "artifacts"


def open_artifacts(settings: Settings) -> ArtifactStore:
    """Return the store; nothing is read or written yet.

    Raises:
        ConfigurationError: ARTIFACTS_URL names none.
    """
    if settings.artifacts_url is None:
        return ArtifactStore(FolderObjects(settings.data_dir / DEFAULT_FOLDER))
    return ArtifactStore(objects_at(settings.artifacts_url))


def objects_at(url: str) -> Objects:
    """Return what lies at an address.

    Raises:
        ConfigurationError: it is neither `file:///folder` nor `s3://bucket/prefix`.
    """
    scheme, host, path, query, fragment = urlsplit(url)
    if not query and not fragment:
        if scheme == "file" and not host and path.startswith("/"):
            return FolderObjects(Path(unquote(path)))
        if scheme == "s3" and host:
            # Only who uses S3 pays for its library: 5 MB in every process.
            s3 = import_module("app.engine.artifacts.s3")
            objects: Objects = s3.S3Objects(host, unquote(path).strip("/"))
            return objects
    raise ConfigurationError(
        "ARTIFACTS_URL must be file:///path/to/folder or s3://bucket/prefix (credentials in the AWS_* variables)."
    )
