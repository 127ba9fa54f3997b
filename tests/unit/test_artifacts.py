"""The artifact store on a folder: written once, checked whenever it is read."""

import hashlib
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.engine.artifacts.address import objects_at, open_artifacts
from app.engine.artifacts.folder import PIECE_BYTES, FolderObjects
from app.engine.artifacts.s3 import S3Objects
from app.engine.artifacts.store import (
    Artifact,
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactStore,
    ArtifactStoreUnavailable,
)

DATA = b'"' + b"x" * (2 * PIECE_BYTES) + b'"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def store(folder: Path) -> ArtifactStore:
    return ArtifactStore(FolderObjects(folder))


def _file(folder: Path, artifact: Artifact) -> Path:
    return folder / artifact.key


def test_bytes_come_back_as_they_were_stored(store: ArtifactStore) -> None:
    artifact = store.put(DATA)

    assert store.read(artifact) == DATA
    assert artifact == Artifact(hashlib.sha256(DATA).hexdigest(), len(DATA))


async def test_bytes_are_stored_from_an_event_loop(store: ArtifactStore) -> None:
    artifact = await store.put_soon(DATA)

    assert store.read_all([artifact, artifact]) == {artifact: DATA}


def test_the_file_is_named_by_the_hash_alone(store: ArtifactStore, folder: Path) -> None:
    sha256 = store.put(DATA).sha256

    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert files == [Path("sha256") / sha256[:2] / sha256[2:]]


def test_the_same_content_is_written_once(store: ArtifactStore, folder: Path) -> None:
    file = _file(folder, store.put(DATA))
    before = file.stat()

    store.put(DATA)

    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_copy_that_was_cut_short_is_mended_by_the_next_write(
    store: ArtifactStore, folder: Path
) -> None:
    artifact = store.put(DATA)
    _file(folder, artifact).write_bytes(DATA[:10])

    store.put(DATA)

    assert store.read(artifact) == DATA


@pytest.mark.parametrize("content", [b"", DATA[:-1] + b"y", DATA[:-1], DATA + b" "])
def test_content_that_does_not_match_its_hash_is_refused(
    store: ArtifactStore, folder: Path, content: bytes
) -> None:
    artifact = store.put(DATA)
    _file(folder, artifact).write_bytes(content)

    with pytest.raises(ArtifactDamaged, match=artifact.sha256):
        store.read(artifact)


def test_the_last_piece_is_held_back_until_the_hash_was_found_right(
    store: ArtifactStore, folder: Path
) -> None:
    artifact = store.put(DATA)
    _file(folder, artifact).write_bytes(DATA[:-1] + b"y")

    pieces = store.open(artifact)

    received = len(next(pieces)) + len(next(pieces))
    with pytest.raises(ArtifactDamaged):
        next(pieces)
    assert received < artifact.size


def test_a_missing_artifact_is_told_from_a_folder_that_is_not_mounted(
    store: ArtifactStore, folder: Path
) -> None:
    absent = Artifact("a" * 64, 7)

    with pytest.raises(ArtifactStoreUnavailable):
        store.read(absent)
    folder.mkdir()
    with pytest.raises(ArtifactMissing, match="ARTIFACTS_URL"):
        store.read(absent)


def test_a_folder_that_cannot_be_written_is_unavailable_and_left_clean(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    store = ArtifactStore(FolderObjects(file))

    with pytest.raises(ArtifactStoreUnavailable):
        store.put(DATA)

    assert file.read_text() == "in the way"


def test_without_an_address_artifacts_lie_in_the_data_folder(tmp_path: Path) -> None:
    store = open_artifacts(Settings(_env_file=None, data_dir=tmp_path))

    artifact = store.put(DATA)

    assert (tmp_path / "artifacts" / artifact.key).exists()


def test_a_file_address_names_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    url = folder.as_uri()

    store = open_artifacts(Settings(_env_file=None, artifacts_url=url))

    assert (folder / store.put(DATA).key).exists()


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/some/prefix"])
def test_an_s3_address_names_a_bucket_and_perhaps_a_prefix(url: str) -> None:
    assert isinstance(objects_at(url), S3Objects)


@pytest.mark.parametrize(
    "url",
    ["", "data", "/data", "file://data", "file:data", "s3://", "s3:///x", "http://x", "s3://b/p?q"],
)
def test_any_other_address_is_refused_with_a_word_on_how_to_write_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="file:///path/to/folder or s3://bucket/prefix"):
        objects_at(url)
