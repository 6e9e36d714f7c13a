"""Class folders as people have them: odd files, links, names in every form, order of classes, splits; against
torchvision's ImageFolder."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torchvision.datasets import ImageFolder

from tests.support.data_folders import refused, told, tree
from tests.support.data_readers import PARTS, class_folders
from tests.support.makers import pixels
from zooaudit.data.classes import read_classes
from zooaudit.data.images import Dataset
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading

NAMES = [str(i) for i in range(12)]


def marks(data: Dataset) -> list[tuple[int, int]]:
    """(label, which class folder) of every training image."""
    return sorted(
        {(int(y), int(x[0, 0, 0])) for x, y in zip(data.train.images, data.train.labels, strict=True)}
    )


def test_numeric_names_are_in_torchvisions_order_and_it_is_said(tmp_path: Path) -> None:
    data = read_dataset(tree(tmp_path, NAMES), "mine")
    theirs = ImageFolder(str(tmp_path / "train"))
    assert list(data.classes) == theirs.classes == sorted(NAMES)
    assert marks(data) == sorted((label, int(name)) for name, label in theirs.class_to_idx.items())
    assert (
        "alphabetical order, as torchvision does: 0, 1, 10, 11, ... (12 in all); natural order differs: 0, 1,"
        " 2, 3" in told(data)
    )
    assert "--classes natural" in told(data)
    assert data.found and data.found.ordered == "alphabetical"


def test_where_both_orders_agree_nothing_is_said(tmp_path: Path) -> None:
    assert told(read_dataset(tree(tmp_path, ["ant", "bee", "n02", "n10"]), "mine")) == ""


def test_natural_order_and_order_by_a_file(tmp_path: Path) -> None:
    folder = tree(tmp_path / "data", NAMES)
    natural = read_dataset(folder, "mine", Reading(classes="natural"))
    assert list(natural.classes) == NAMES and marks(natural) == [(i, i) for i in range(12)]
    backwards = NAMES[::-1]
    forms = {
        "lines.txt": "\n".join(backwards) + "\n",
        "list.json": json.dumps(backwards),
        "indices.json": json.dumps({name: i for i, name in enumerate(backwards)}),
        "id2label.json": json.dumps(
            {"model_type": "vit", "id2label": {str(i): name for i, name in enumerate(backwards)}}
        ),
        "label2id.json": json.dumps({"label2id": {name: i for i, name in enumerate(backwards)}}),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig" if name == "lines.txt" else "utf-8")
        data = read_dataset(folder, "mine", Reading(classes=str(tmp_path / name)))
        assert list(data.classes) == backwards and marks(data) == [(i, 11 - i) for i in range(12)], name
        assert data.test.labels.sort().values.tolist() == sorted(list(range(12)) * 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ant\nbee\ncow\n", "only {file} has cow; only {folder} has cat"),
        ("ant\nbee\n", "only {folder} has cat"),
        ("ant\nbee\ncat\nant\n", "{file} names ant twice; expected every class once"),
        ("ant\n\nbee\ncat", "an empty name of a class"),
        ("", "an empty name of a class"),
        ('{"ant": 0, "bee": 1, "cat": 3}', "classes are numbered 0, 1, 3; expected 0 to 2, each once"),
        ('{"ant": 1, "bee": 2, "cat": 3}', "classes are numbered 1, 2, 3; expected 0 to 2"),
        ('["ant", 3]', "expected a JSON list of names, or a mapping"),
        ("{broken", "not a readable JSON file"),
        (None, "classes: not a readable text file (No such file or directory)"),
    ],
)
def test_a_file_of_classes_that_does_not_fit_names_the_difference(
    text: str | None, expected: str, tmp_path: Path
) -> None:
    folder, file = class_folders(tmp_path / "data"), tmp_path / "classes"
    if text is not None:
        file.write_text(text)
    refused(folder, expected.format(file=file, folder=folder), reading=Reading(classes=str(file)))


def test_a_file_of_classes_names_numbers(tmp_path: Path) -> None:
    for part, images, labels in PARTS:
        np.savez(tmp_path / f"{part}.npz", images=images, labels=labels)
    (tmp_path / "names").write_text("ant\nbee\ncat")
    data = read_dataset(tmp_path, "mine", Reading(classes=str(tmp_path / "names")))
    assert data.classes == ("ant", "bee", "cat") and torch.equal(
        data.train.labels, read_dataset(tmp_path, "mine").train.labels
    )
    (tmp_path / "names").write_text("ant\nbee")
    refused(
        tmp_path, "names 2 classes; expected 3 at least", reading=Reading(classes=str(tmp_path / "names"))
    )
    assert read_classes(tmp_path / "names") == ("ant", "bee")


def test_a_file_of_classes_numbers_named_ones_anew(tmp_path: Path) -> None:
    for part, images, labels in PARTS:
        np.savez(tmp_path / f"{part}.npz", images=images, labels=labels, classes=["ant", "bee", "cat"])
    (tmp_path / "names").write_text("cat\nant\nbee")
    data = read_dataset(tmp_path, "mine", Reading(classes=str(tmp_path / "names")))
    assert data.classes == ("cat", "ant", "bee")
    assert data.train.labels.tolist() == [(1, 2, 0)[label] for label in PARTS[0][2]]
    assert data.test.labels.tolist() == [(1, 2, 0)[label] for label in PARTS[1][2]]


def test_both_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    plain, split = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    data = read_dataset(tree(tmp_path / "a", ["bar", split], ["bar", plain]), "mine")
    assert data.classes == ("bar", plain) and len(data.test) == 4
    assert data.classes == read_dataset(tree(tmp_path / "b", ["bar", plain], ["bar", split]), "mine").classes
    refused(
        tree(tmp_path / "c", [plain, split]),
        f"two classes have the name {plain}, in two Unicode forms",
        "merge",
    )
    (tmp_path / "names").write_text(f"{plain}\nbar")
    assert read_dataset(tmp_path / "a", "mine", Reading(classes=str(tmp_path / "names"))).classes == (
        plain,
        "bar",
    )
    differs = read_dataset(tree(tmp_path / "d", [unicodedata.normalize("NFD", "é"), "f"]), "mine")
    assert differs.classes == ("é", "f") and "in the other Unicode form the order differs" in told(differs)


def test_a_test_split_may_lack_a_class_and_it_is_said(tmp_path: Path) -> None:
    data = read_dataset(tree(tmp_path / "a", ["ant", "bee", "cat"], ["cat", "ant"]), "mine")
    assert data.classes == ("ant", "bee", "cat") and sorted(set(data.test.labels.tolist())) == [0, 2]
    assert told(data) == "test has no image of 1 of 3 classes: bee"
    folder = tree(tmp_path / "b", ["ant", "bee", "cat"], ["cat", "ant"])
    (folder / "test" / "bee").mkdir()
    assert told(read_dataset(folder, "mine")) == "test has no image of 1 of 3 classes: bee"


def test_a_test_split_with_a_class_of_its_own_is_refused(tmp_path: Path) -> None:
    refused(
        tree(tmp_path / "a", ["ant", "bee"], ["ant", "bee", "cat"]),
        "test also has cat; expected no class in test that train lacks",
    )
    for part, labels in (("train", [0, 1, 0, 1]), ("test", [0, 1, 2, 2])):
        np.savez(tmp_path / f"{part}.npz", images=pixels(4), labels=labels, classes=["ant", "bee", "cat"])
    refused(tmp_path, "test has images of cat, train has none")


def test_system_files_and_folders_of_every_kind_are_left_alone(tmp_path: Path) -> None:
    plain, odd = class_folders(tmp_path / "plain"), class_folders(tmp_path / "odd")
    picture = (odd / "train" / "ant" / "000.png").read_bytes()
    for name in (
        "@eaDir",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "#recycle",
        "__MACOSX",
        ".thumbnails",
    ):
        for place in (odd, odd / "train", odd / "train" / "ant"):
            (place / name).mkdir()
            (place / name / "x.png").write_bytes(picture)
    for name in ("desktop.ini", "Thumbs.db", "ehthumbs.db", ".directory", "Icon\r", "._a.png", ".DS_Store"):
        for place in (odd, odd / "train", odd / "train" / "ant"):
            (place / name).write_bytes(picture)
    one, other = read_dataset(plain, "mine"), read_dataset(odd, "mine")
    assert other.classes == one.classes and other.digest == one.digest and told(other) == ""
    assert other.found and [(why, count) for why, count, _ in other.found.skipped] == [
        ("hidden or the system's own", 7 + 7 + 7)
    ]


def test_images_that_are_not_read_are_counted_and_named(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    picture = (folder / "train" / "ant" / "000.png").read_bytes()
    (folder / "train" / "ant" / "photo").write_bytes(picture)
    (folder / "train" / "bee" / "photo.heic").write_bytes(b"x")
    (folder / "train" / "bee" / "notes.txt").write_text("not an image")
    (folder / "train" / "loose.png").write_bytes(picture)
    data = read_dataset(folder, "mine")
    assert data.digest == read_dataset(class_folders(tmp_path / "plain"), "mine").digest
    assert (
        "files skipped: 2, each looks like an image, but is of a kind that is not read:"
        f" {folder}/train/ant/photo, " in told(data)
    )
    assert f"files skipped: 1, each lies outside the class folders: {folder}/train/loose.png" in told(data)
    assert data.found and ("no image", 1, str(folder / "train" / "bee" / "notes.txt")) in data.found.skipped


def test_a_class_of_images_of_another_kind_only_says_so(tmp_path: Path) -> None:
    (tmp_path / "train" / "dog").mkdir(parents=True)
    (class_folders(tmp_path) / "train" / "dog" / "1.heic").write_bytes(b"x")
    refused(
        tmp_path, "dog holds no image", "dog/1.heic looks like an image, but is of a kind that is not read"
    )


@pytest.mark.parametrize(
    "suffix",
    [".PNG", ".JPG", ".JPEG", ".jfif", ".TIF", ".ppm", ".PGM", ".bmp", ".webp", ".avif", ".jp2", ".gif"],
)
def test_endings_in_any_case(suffix: str, tmp_path: Path) -> None:
    kind = {".jfif": "JPEG", ".jpg": "JPEG", ".tif": "TIFF", ".pgm": "PPM", ".jp2": "JPEG2000"}.get(
        suffix.lower(), suffix[1:].upper()
    )
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        Image.fromarray(pixels(1)[0, 0]).save(tmp_path / part / "a" / f"0{suffix}", kind)
    data = read_dataset(tmp_path, "mine")
    expected = np.asarray(Image.open(tmp_path / "train" / "a" / f"0{suffix}").convert("L"))
    assert np.array_equal(data.train.images[0, 0].numpy(), expected)


def test_links_are_followed_and_rings_end(tmp_path: Path) -> None:
    real = class_folders(tmp_path / "real")
    linked = tmp_path / "linked"
    for part in ("train", "test"):
        (linked / part).mkdir(parents=True)
        for name in ("ant", "bee"):
            (linked / part / name).symlink_to(real / part / name)
        (linked / part / "cat").mkdir()
        (linked / part / "cat" / "deeper").symlink_to(real / part / "cat")
        (linked / part / "cat" / "ring").symlink_to(linked / part / "cat")
    assert read_dataset(linked, "mine").digest == read_dataset(real, "mine").digest
    (linked / "train" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    refused(linked, "gone.png is a link to", "nowhere.png, which does not exist; remove it or mend it")


def test_a_folder_named_like_an_image_and_a_pipe_are_no_images(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "train" / "ant" / "album.png").mkdir()
    os.mkfifo(folder / "train" / "ant" / "pipe")
    assert (
        read_dataset(folder, "mine").digest == read_dataset(class_folders(tmp_path / "plain"), "mine").digest
    )


def test_what_a_users_code_has_set_in_pillow_loads_nothing_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = class_folders(tmp_path) / "train" / "bee" / "001.png"
    Image.fromarray(pixels(1, size=300)[0, 0]).resize((8, 8)).save(path.with_suffix(".jpg"), quality=100)
    whole = path.with_suffix(".jpg").read_bytes()
    path.with_suffix(".jpg").write_bytes(whole[:-20])
    refused(tmp_path, "001.jpg: not a readable image (image file is truncated")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_set_beyond_the_memory_is_refused_before_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "zooaudit.data.decode.psutil.virtual_memory", lambda: type("Memory", (), {"available": 500})()
    )
    refused(
        class_folders(tmp_path),
        "12 images of 1, 8, 8 take",
        "this machine has",
        "--size makes images smaller",
    )
