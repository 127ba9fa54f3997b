"""Artifacts in S3 or a server that speaks its protocol. Credentials, region and endpoint come from AWS_* variables."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

PIECE_BYTES = 1024 * 1024
CONNECT_TIMEOUT = timedelta(seconds=3)
REQUEST_TIMEOUT = timedelta(seconds=20)
RETRY_TIMEOUT = timedelta(seconds=10)
MAX_RETRIES = 3


class S3Objects:
    """Keeps each object below a prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                # Plain HTTP is spoken only where the operator's own AWS_ENDPOINT_URL says so.
                "allow_http": True,
                "connect_timeout": CONNECT_TIMEOUT,
                "timeout": REQUEST_TIMEOUT,
            },
            retry_config={"max_retries": MAX_RETRIES, "retry_timeout": RETRY_TIMEOUT},
        )

    def size(self, key: str) -> int | None:
        """Return how many bytes are there; None when nothing is."""
        try:
            with _told_as_os_errors():
                return obstore.head(self._store, key)["size"]
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """Put bytes there, all or nothing."""
        with _told_as_os_errors():
            obstore.put(self._store, key, data, attributes={"Content-Type": "application/json"})

    def open(self, key: str) -> Iterator[bytes]:
        """Return the bytes in pieces; the server has answered by then."""
        with _told_as_os_errors():
            stream = obstore.get(self._store, key).stream(min_chunk_size=PIECE_BYTES)
        return _pieces(iter(stream))


def _pieces(stream: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        with _told_as_os_errors():
            piece = next(stream, None)
        if piece is None:
            return
        yield piece


@contextmanager
def _told_as_os_errors() -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(_first_line(error)) from None
    except BaseError as error:
        raise OSError(_first_line(error)) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
