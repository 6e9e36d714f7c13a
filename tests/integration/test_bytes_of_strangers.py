"""Any bytes in a store are an artifact or an error of ours."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forged import SHA, manifest
from zooaudit.errors import ZooauditError
from zooaudit.storage.manifest import read_manifest
from zooaudit.storage.opening import open_store

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([SHA, "report", "r"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["files", "meta", "kind", "id", "sha256", "bytes", "x"]), inner)
    ),
    max_leaves=8,
)


@given(raw=st.binary(max_size=60) | JSON.map(lambda v: repr(v).encode()), files=JSON, meta=JSON, bytes_=JSON)
def test_any_manifest_is_sound_or_refused(raw: bytes, files: Any, meta: Any, bytes_: Any) -> None:
    whole: list[bytes] = [raw]
    for body in (
        {"files": files, "meta": meta},
        {"files": {"a": {"sha256": SHA, "bytes": bytes_}}},
        {"kind": files},
        {"meta": meta},
    ):
        try:
            whole.append(manifest(**body))
        except ValueError:  # NaN, which no manifest has
            continue
    for one in whole:
        try:
            found = read_manifest(one, "report", "r")
        except ValueError:
            continue
        assert isinstance(found.meta, dict) and all(
            len(f["sha256"]) == 64 and f["bytes"] >= 0 for f in found.files.values()
        )


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
        b"\xff\xfe",
        b'"\\ud800"',
        b'{"sha256":"\\ud800"}',
        b"NaN",
    ],
)
def test_no_json_is_deeper_or_larger_than_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|SHA-256|holds a"):
        read_manifest(raw, "report", "r")


@given(
    damage=st.binary(min_size=1, max_size=12),
    place=st.integers(0, 10**6),
    name=st.sampled_from(["manifest", "t.safetensors", "t.parquet"]),
)
def test_any_bytes_in_a_store_are_an_artifact_or_our_error(damage: bytes, place: int, name: str) -> None:
    """The loader on damaged content whose digests a stranger made right."""
    import torch

    from zooaudit.storage.encoding import table_to_bytes, tensors_to_bytes

    good = {
        "t.safetensors": tensors_to_bytes({"v": torch.rand(3)}),
        "t.parquet": table_to_bytes(pa.table({"n": [1, 2]})),
    }
    store = open_store("memory:")
    if name == "manifest":
        store.save("thing", "one", good, {"n": 1})
        raw = store.load("thing", "one").manifest
        at = place % len(raw)
        store._store.delete("manifests/thing/one.json")
        store._store.create("manifests/thing/one.json", raw[:at] + damage + raw[at + len(damage) :])
    else:
        content = good[name]
        at = place % len(content)
        store.save(
            "thing", "one", good | {name: content[:at] + damage + content[at + len(damage) :]}, {"n": 1}
        )
    try:
        found = store.load("thing", "one")
        found.tensors("t.safetensors")
        found.table("t.parquet", pa.schema([("n", pa.int64())]))
    except ZooauditError:
        pass
