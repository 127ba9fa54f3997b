"""The artifact store: bytes by the hash of their content, written once, checked whenever they are read.

    ArtifactStoreUnavailable   (Unavailable)  the folder or the S3 server does not answer, or refuses
    ArtifactMissing            (NotFound)     it answers, and has no such artifact
    ArtifactDamaged                           what it has does not match its hash

Names are made from hashes alone, never from data, and what is there already is not written again.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from app.core.errors import AutomateError, NotFound, Unavailable
from app.core.logging import get_logger

MAX_PARALLEL_TRANSFERS = 16
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a row keeps in place of a large output. `size` is in bytes."""

    sha256: str
    size: int

    @property
    def key(self) -> str:
        """Return the name under which it is stored."""
        return f"sha256/{self.sha256[:2]}/{self.sha256[2:]}"


class Objects(Protocol):
    """Where bytes lie, by key. What is absent raises FileNotFoundError, any other trouble OSError."""

    def size(self, key: str) -> int | None:
        """Return how many bytes are there; None when nothing is."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put bytes there, all or nothing; once this returns they survive a crash."""
        ...

    def open(self, key: str) -> Iterator[bytes]:
        """Return the bytes in pieces."""
        ...


class ArtifactStoreUnavailable(Unavailable):
    """The artifact store does not answer right now: try again shortly."""

    code = "artifact_store_unavailable"


class ArtifactMissing(NotFound):
    """The artifact is not in the store."""

    code = "artifact_missing"


class ArtifactDamaged(AutomateError):
    """The artifact does not match its hash."""

    code = "artifact_damaged"


class ArtifactStore:
    """Keeps artifacts for every worker and API process: all of them must see the same folder or bucket.

    Its methods block; on an event loop, `run` them.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._threads = ThreadPoolExecutor(MAX_PARALLEL_TRANSFERS, thread_name_prefix="artifacts")

    def put(self, data: bytes) -> Artifact:
        """Keep bytes; a damaged copy of other length is mended by the way.

        Raises:
            ArtifactStoreUnavailable: they could not be written.
        """
        artifact = Artifact(hashlib.sha256(data).hexdigest(), len(data))
        with _told_as_ours(artifact):
            if self._objects.size(artifact.key) != artifact.size:
                self._objects.write(artifact.key, data)
        return artifact

    def open(self, artifact: Artifact) -> Iterator[bytes]:
        """Return the bytes in pieces; the last one comes only after the hash of all has been found right.

        Raises:
            ArtifactMissing: it is not there.
            ArtifactStoreUnavailable: the store does not answer; also while the pieces are read.
            ArtifactDamaged: raised in place of the last piece.
        """
        with _told_as_ours(artifact):
            pieces = self._objects.open(artifact.key)
        return _checked(pieces, artifact)

    def read(self, artifact: Artifact) -> bytes:
        """Return the bytes.

        Raises:
            ArtifactMissing: it is not there.
            ArtifactStoreUnavailable: the store does not answer.
            ArtifactDamaged: its content is not what was stored.
        """
        return b"".join(self.open(artifact))

    def read_all(self, artifacts: Sequence[Artifact]) -> dict[Artifact, bytes]:
        """Return the bytes of several, read side by side; raises what `read` raises."""
        wanted = list(dict.fromkeys(artifacts))
        return dict(zip(wanted, self._threads.map(self.read, wanted), strict=True))

    async def put_soon(self, data: bytes) -> Artifact:
        """Keep bytes without blocking the event loop; raises what `put` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.put, data)

    def close(self) -> None:
        """Let go of the threads; transfers that are under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _checked(pieces: Iterator[bytes], artifact: Artifact) -> Iterator[bytes]:
    digest, held_back = hashlib.sha256(), b""
    while True:
        with _told_as_ours(artifact):
            piece = next(pieces, None)
        if piece is None:
            break
        digest.update(piece)
        if held_back:
            yield held_back
        held_back = piece
    if digest.hexdigest() != artifact.sha256:
        raise ArtifactDamaged(
            f"The artifact {artifact.sha256} does not match its hash: restore it from a backup of the artifact store."
        )
    yield held_back


@contextmanager
def _told_as_ours(artifact: Artifact) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ArtifactMissing(
            f"The artifact {artifact.sha256} is not in the store: do all workers and the API share one ARTIFACTS_URL?"
        ) from None
    except OSError as error:
        log.warning("artifact_store_unavailable", sha256=artifact.sha256, reason=str(error)[:500])
        raise ArtifactStoreUnavailable from error
