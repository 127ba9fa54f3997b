"""Evidence bundles: one JSON document that says what happened in a run, with hashes by which anybody can check it.

    {"format": "automateos-evidence-2", "manifest": {…}, "run": {…}, "version": {…}, "steps": […], "approvals": […],
     "logs": […], "evidence": […], "audit": […], "audit_head": {…}}

Format 1 had no part about the audit log.

`manifest.parts` holds the SHA-256 of each part as canonical JSON, `manifest.sha256` that of `manifest.parts`. The document
itself is canonical JSON as well, so that no byte of it can change unseen.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from app.engine.evidence.canonical import canonical, sha256_of

FORMAT: Final = "automateos-evidence-2"
PARTS: Final = (
    "run", "version", "steps", "approvals", "logs", "evidence", "audit", "audit_head",
)  # fmt: skip
PARTS_OF: Final[Mapping[object, tuple[str, ...]]] = {
    "automateos-evidence-1": PARTS[:6],
    FORMAT: PARTS,
}
"""By format."""


class TooLarge(Exception):
    """A bundle would grow beyond its limit."""


@dataclass
class BundleWriter:
    """Takes the parts in one by one; a list is encoded row by row, so that its rows need not be held together."""

    max_bytes: int | None = None
    parts: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, name: str, value: Any) -> None:
        """Take in a part that is one object.

        Raises:
            TooLarge: with it, the bundle is larger than `max_bytes`.
        """
        self.parts[name] = self._encoded(value)

    def add_list(self, name: str, rows: Iterable[Any]) -> None:
        """Take in a part that is a list; raises what `add` raises."""
        self.parts[name] = b"[" + b",".join(self._encoded(row) for row in rows) + b"]"

    def finish(self) -> bytes:
        """Return the document."""
        hashes = {name: hashlib.sha256(part).hexdigest() for name, part in self.parts.items()}
        manifest = {"parts": hashes, "sha256": sha256_of(hashes)}
        whole = {**self.parts, "format": canonical(FORMAT), "manifest": canonical(manifest)}
        return (
            b"{" + b",".join(canonical(name) + b":" + whole[name] for name in sorted(whole)) + b"}"
        )

    def _encoded(self, value: Any) -> bytes:
        encoded = canonical(value)
        self.size += len(encoded)
        if self.max_bytes is not None and self.size > self.max_bytes:
            raise TooLarge
        return encoded


def root_hash(document: bytes) -> str | None:
    """Return the hash over all that a bundle claims for itself; None when it has none."""
    try:
        found = orjson.loads(document)["manifest"]["sha256"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def faults_of(document: bytes) -> Iterator[str]:
    """Yield a sentence for everything in a bundle that is not as it was exported. A line break at its end is no fault."""
    document = document.removesuffix(b"\n")
    try:
        bundle = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        yield f"the file: is no JSON any more, at character {error.pos}: {error.msg}"
        return
    if not isinstance(bundle, dict) or bundle.get("format") not in PARTS_OF:
        yield f"format: is not {FORMAT!r}: this is no evidence bundle that this version can check"
        return
    try:
        written = canonical(bundle)
    except orjson.JSONEncodeError:
        yield "the file: is nested deeper than any bundle"
        return
    yield from _part_faults(bundle)
    yield from _evidence_faults(bundle.get("evidence"))
    if written != document:
        place = _first_difference(written, document)
        yield (
            f"the file: differs from what was exported from byte {place} on (spaces, the order of keys, a key that comes "
            "twice, or how a number or character is written)"
        )


def _part_faults(bundle: Mapping[str, Any]) -> Iterator[str]:
    manifest = bundle.get("manifest")
    parts = manifest.get("parts") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or not isinstance(parts, dict):
        yield "manifest: has no `parts`"
        return
    if manifest.get("sha256") != sha256_of(parts):
        yield "manifest: `sha256` is not that of its `parts`"
    if manifest.keys() != {"parts", "sha256"}:
        yield "manifest: has other fields than `parts` and `sha256`"
    for name in sorted(
        {*PARTS_OF[bundle["format"]], *parts, *bundle.keys()} - {"format", "manifest"}
    ):
        if name not in bundle:
            yield f"{name}: is missing"
        elif name not in parts:
            yield f"{name}: is not in the manifest"
        elif parts[name] != sha256_of(bundle[name]):
            yield f"{name}: does not match its SHA-256 in the manifest"


def _evidence_faults(evidence: Any) -> Iterator[str]:
    for number, item in enumerate(evidence if isinstance(evidence, list) else ()):
        if not isinstance(item, dict):
            yield f"evidence[{number}]: is no object"
        elif item.get("artifact") is None and item.get("sha256") != sha256_of(item.get("content")):
            yield f"evidence[{number}] ({item.get('id')}): its content does not match its SHA-256"


def _first_difference(left: bytes, right: bytes) -> int:
    pairs = zip(left, right, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
