"""A bundle shows every change, and says where it is."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.engine.evidence.bundle import FORMAT, PARTS, BundleWriter, TooLarge, faults_of, root_hash
from app.engine.evidence.canonical import canonical, sha256_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "evidence.md"
DEFINITION: dict[str, Any] = {"steps": [{"type": "log", "config": {"message": "Hé", "n": 1.5}}]}
CONTENT = {"zebra": 1, "ant": [1.0, 1e300, "é\n"]}


def _bundle(max_bytes: int | None = None) -> bytes:
    writer = BundleWriter(max_bytes)
    writer.add("run", {"id": "7", "status": "succeeded"})
    writer.add("version", {"definition": DEFINITION, "checksum": sha256_of(DEFINITION)})
    writer.add_list("steps", [{"path": "a", "output": {"b": 1, "a": 2}}])
    writer.add_list("approvals", [])
    writer.add_list("logs", [{"message": "one"}, {"message": "two"}])
    item = {"id": "e1", "content": CONTENT, "sha256": sha256_of(CONTENT), "artifact": None}
    large = {"id": "e2", "content": None, "sha256": "0" * 64, "artifact": {"sha256": "0" * 64}}
    writer.add_list("evidence", [item, large])
    writer.add_list("audit", [{"seq": 7, "action": "run.cancelled"}])
    writer.add("audit_head", {"seq": 9, "hash": "0" * 64})
    return writer.finish()


def _changed(**parts: Any) -> bytes:
    return canonical({**orjson.loads(_bundle()), **parts})


def test_an_untouched_bundle_has_no_faults() -> None:
    assert list(faults_of(_bundle())) == []
    assert list(faults_of(_bundle() + b"\n")) == []


def test_its_hashes_are_those_of_canonical_json() -> None:
    bundle = json.loads(_bundle())
    steps = b'[{"output":{"a":2,"b":1},"path":"a"}]'

    assert (bundle["format"], set(bundle["manifest"]["parts"])) == (FORMAT, set(PARTS))
    assert bundle["manifest"]["parts"]["steps"] == hashlib.sha256(steps).hexdigest()
    assert bundle["manifest"]["sha256"] == sha256_of(bundle["manifest"]["parts"])
    assert root_hash(_bundle()) == bundle["manifest"]["sha256"]


def test_canonical_json_is_what_python_s_own_writer_makes_of_it() -> None:
    value = {
        "b": [1e-7, 1e16, 0.00001, -0.0, 1.0, 2**63 - 1],
        "a": {"\U0001f600": 1, "\uffff": "\x7f\n\u2028é"},
    }

    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    assert canonical(value) == text.encode()
    assert canonical(orjson.loads(canonical(value))) == canonical(value)
    assert b"1e-07,1e+16,1e-05,-0.0,1.0" in canonical(value)


def test_a_change_of_any_byte_is_found() -> None:
    document = _bundle()

    unseen = [
        place
        for place in range(len(document))
        if not any(faults_of(document[:place] + bytes([document[place] ^ 1]) + document[place + 1 :]))
    ]  # fmt: skip

    assert unseen == []


@pytest.mark.parametrize("place", [0, 40, 700])
def test_a_byte_more_or_less_is_found(place: int) -> None:
    document = _bundle()

    assert list(faults_of(document[:place] + b" " + document[place:]))
    assert list(faults_of(document[:place] + document[place + 1 :]))


@pytest.mark.parametrize("name", PARTS)
def test_a_changed_part_is_named(name: str) -> None:
    (fault, *_) = faults_of(_changed(**{name: ["something else"]}))

    assert fault.startswith(f"{name}: does not match")


def test_more_is_said_where_more_is_known() -> None:
    evidence = orjson.loads(_bundle())["evidence"]
    evidence[0]["content"]["zebra"] = 2

    faults = list(faults_of(_changed(evidence=evidence)))

    assert [fault.partition(":")[0] for fault in faults] == ["evidence", "evidence[0] (e1)"]


def test_a_part_that_is_missing_or_smuggled_in_is_named() -> None:
    bundle = orjson.loads(_bundle())
    logs = bundle.pop("logs")

    assert list(faults_of(canonical(bundle))) == ["logs: is missing"]
    assert list(faults_of(_changed(more=logs))) == ["more: is not in the manifest"]


def test_a_manifest_that_was_adapted_no_longer_fits_the_hash_over_all() -> None:
    bundle = orjson.loads(_bundle())
    bundle["manifest"]["parts"]["run"] = sha256_of({"id": "8"})

    assert list(faults_of(canonical({**bundle, "run": {"id": "8"}}))) == [
        "manifest: `sha256` is not that of its `parts`"
    ]


def test_another_layout_of_the_same_content_is_told_apart() -> None:
    document = _bundle()

    (indented,) = faults_of(orjson.dumps(orjson.loads(document), option=orjson.OPT_INDENT_2))
    (twice,) = faults_of(b'{"run":{"id":"8"},' + document[1:])

    assert "from byte 1 on" in indented
    assert "comes twice" in twice


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"format": 7}', b"\xff", b"[" * 2000, b"1"]
)
def test_what_is_no_bundle_is_said_to_be_none(document: bytes) -> None:
    assert len(list(faults_of(document))) == 1
    assert root_hash(document) is None


def test_nesting_without_end_is_a_fault() -> None:
    deep = b'{"format":"automateos-evidence-1","run":' + b"[" * 900 + b"]" * 900 + b"}"

    assert list(faults_of(deep)) == ["the file: is nested deeper than any bundle"]


def test_a_bundle_that_grows_too_large_is_refused_while_it_is_made() -> None:
    with pytest.raises(TooLarge):
        _bundle(max_bytes=200)


def test_the_documented_check_works_without_this_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = re.findall(r"```python\n(import hashlib.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    said = []

    for document in (_bundle(), _bundle().replace(b"one", b"eno")):
        Path("bundle.json").write_bytes(document)
        exec(script, {})
        said.append(capsys.readouterr().out)

    assert said == [
        "changed: []\nmanifest holds: True\n",
        "changed: ['logs']\nmanifest holds: True\n",
    ]


def test_a_bundle_of_the_first_format_can_still_be_checked() -> None:
    old = orjson.loads(_bundle())
    parts = {name: it for name, it in old["manifest"]["parts"].items() if "audit" not in name}
    old["manifest"] = {"parts": parts, "sha256": sha256_of(parts)}
    old["format"] = "automateos-evidence-1"
    del old["audit"], old["audit_head"]

    assert list(faults_of(canonical(old))) == []
    assert "audit: is missing" in list(faults_of(canonical({**old, "format": FORMAT})))
