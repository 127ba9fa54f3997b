"""Decompress in small pieces: a 64 KiB chunk can hold 64 MiB, and a doubly compressed one 64 GiB."""

import zlib
from collections.abc import Iterable, Iterator

import httpx

PIECE_BYTES = 64 * 1024
READABLE = "gzip, deflate"

_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class Plain:
    """Passes a body on that is not compressed."""

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """Return the chunk as it is."""
        return (chunk,)

    def finish(self) -> None:
        """Accept any end."""


class Inflater:
    """Decompresses one gzip or deflate body, at most `PIECE_BYTES` at a time."""

    def __init__(self, encodings: list[str]) -> None:
        self._encodings = encodings
        self._started = False
        self._stream = zlib.decompressobj(_WINDOWS.get(encodings[0], zlib.MAX_WBITS))

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the chunk decompresses to.

        Raises:
            httpx.DecodingError: the encoding is not one that was asked for, or the data is damaged.
        """
        if len(self._encodings) > 1 or self._encodings[0] not in _WINDOWS:
            raise httpx.DecodingError(
                f"The response is encoded as {', '.join(self._encodings)!r}; only one of {READABLE} is read."
            )
        while not self._stream.eof:
            piece = self._inflate(chunk)
            if piece:
                yield piece
            chunk = self._stream.unconsumed_tail
            if not chunk and len(piece) < PIECE_BYTES:
                return

    def finish(self) -> None:
        """Check that the data was complete.

        Raises:
            httpx.DecodingError: it ended early.
        """
        if self._started and not self._stream.eof:
            raise httpx.DecodingError("The compressed response ended early.")

    def _inflate(self, chunk: bytes) -> bytes:
        first, self._started = not self._started, self._started or bool(chunk)
        try:
            return self._stream.decompress(chunk, PIECE_BYTES)
        except zlib.error:
            if not (first and self._encodings == ["deflate"]):
                raise httpx.DecodingError("The compressed response is damaged.") from None
        # Some servers send deflate without the zlib header.
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        return self._inflate(chunk)


def take_decoder(headers: httpx.Headers) -> Plain | Inflater:
    """Return what decodes a response with these headers, and remove the headers that speak of the encoded form."""
    encodings = [
        encoding.strip().lower()
        for encoding in headers.get_list("content-encoding", split_commas=True)
    ]
    encodings = [encoding for encoding in encodings if encoding not in ("", "identity")]
    if not encodings:
        return Plain()
    for name in ("content-encoding", "content-length"):
        headers.pop(name, None)
    return Inflater(encodings)
