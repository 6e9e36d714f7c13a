"""Paths of this machine in what is sent to others."""

import pytest

from zooaudit.local_paths import last_part, shared_command, shared_text, without_folders


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/home/me/theirs.onnx", "theirs.onnx"),
        ("~/theirs.onnx", "theirs.onnx"),
        ("../a/theirs/", "theirs"),
        (r"C:\\models\\theirs.onnx", "theirs.onnx"),
        ("https://host/v2/models/m/infer", "https://host/v2/models/m/infer"),
        ("models:/theirs/3", "models:/theirs/3"),
        ("their/model", "their/model"),
        ("theirs", "theirs"),
        ("/", "/"),
    ],
)
def test_of_a_local_path_only_the_last_part_is_a_name(name: str, message: str) -> None:
    assert last_part(name) == message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("zooaudit audit --data ./my-images --out reports/x", "zooaudit audit --data my-images --out x"),
        (
            "zooaudit audit --store s3://bucket/a --set zoo.references=8",
            "zooaudit audit --store s3://bucket/a --set zoo.references=8",
        ),
        ("zooaudit audit --data='/a b/c d'", "zooaudit audit '--data=c d'"),
        (
            "zooaudit audit --start timm:lite0=/a/w.safetensors",
            "zooaudit audit --start timm:lite0=w.safetensors",
        ),
        (
            "zooaudit audit --train-command 'python /a/train.py --seed {seed} --out {out}'",
            "zooaudit audit --train-command 'python train.py --seed {seed} --out {out}'",
        ),
        (
            "zooaudit audit --victim hf://owner/name/model.onnx",
            "zooaudit audit --victim hf://owner/name/model.onnx",
        ),
    ],
)
def test_a_command_without_folders(command: str, message: str) -> None:
    assert shared_command(command) == message


def test_places_and_words() -> None:
    assert [without_folders(p) for p in ("data/set", "/data/set", "s3://b/set", "scikit-learn")] == [
        "set",
        "set",
        "s3://b/set",
        "scikit-learn",
    ]
    assert (
        shared_text("OSError (/a/b.py): and/or 1/20; see https://h/x")
        == "OSError (b.py): and/or 1/20; see https://h/x"
    )
