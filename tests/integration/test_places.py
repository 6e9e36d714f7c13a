"""Models that lie in S3."""

from pathlib import Path

import boto3
import pytest
import torch

from cluster.seaweed import Seaweed
from tests.support.hub import PROCESSORS, asked, blobs, vit
from tests.support.makers import Affine
from tests.support.weights import sharded
from zooaudit.errors import InputError
from zooaudit.storage.places import local
from zooaudit.suspects.load import load, load_model


def put(bucket: str, folder: Path, prefix: str = "") -> None:
    """A folder's files under an S3 prefix."""
    name, _, key = bucket.removeprefix("s3://").partition("/")
    client = boto3.client("s3", region_name="us-east-1")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        client.put_object(
            Bucket=name, Key=f"{key}/{prefix}{path.relative_to(folder)}", Body=path.read_bytes()
        )


@pytest.mark.s3
def test_models_in_s3(seaweed: Seaweed, bucket: str, tmp_path: Path) -> None:
    model = vit(tmp_path / "f")
    PROCESSORS["squashed"]().save_pretrained(tmp_path / "f")
    (tmp_path / "f" / "pytorch_model.bin").write_bytes(b"\x80never fetched")
    put(bucket, tmp_path / "f", "folder/")
    (tmp_path / "s").mkdir()
    sharded(tmp_path / "s", Affine(seed=3))
    put(bucket, tmp_path / "s", "shards/")
    found = local(f"{bucket}/folder")
    assert sorted(p.name for p in found.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    loaded, images = load(found, None, asked((3, 24, 24))), blobs(2, 24, 24)
    torch.testing.assert_close(loaded.module(images), model(loaded.module.prepare(images)).logits)
    index = local(f"{bucket}/shards/model.safetensors.index.json")
    given = torch.rand(3, 1, 4, 4)
    assert torch.equal(
        load_model(index, "tests.support.makers:Affine", (1, 4, 4), 4)(given), Affine(seed=3)(given)
    )
    single = local(f"{bucket}/folder/model.safetensors")
    assert single.read_bytes() == (tmp_path / "f" / "model.safetensors").read_bytes()
    for missing in ("folde", "folder/model", "nothing.onnx"):
        with pytest.raises(
            InputError, match="does not exist; expected s3://bucket/key of a file, or of a folder"
        ):
            local(f"{bucket}/{missing}")
    with pytest.raises(InputError, match="is not a model in S3"):
        local("s3://bucket")
