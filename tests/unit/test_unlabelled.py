"""Images without labels: of another task, made to fit, and those that the victim was asked,
as they are; textures."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.makers import pixels, png, write_idx, write_parquet
from zooaudit.data.textures import textures
from zooaudit.data.unlabelled import read_foreign, read_log
from zooaudit.errors import DataError

GREY = (1, 8, 8)


def folder_of(path: Path, images: np.ndarray) -> Path:
    for i, image in enumerate(images):
        inside = path / f"kind{i % 2}"
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{i:03}.png").write_bytes(png(image))
    return path


def test_a_log_is_read_to_the_pixel_from_every_form(tmp_path: Path) -> None:
    images = pixels(24)
    as_set = {tuple(image.ravel()) for image in images}
    np.savez(tmp_path / "log.npz", images=images)
    bare = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"image": [png(image) for image in images]}), bare)
    forms = [
        tmp_path / "log.npz",
        folder_of(tmp_path / "folder", images),
        bare,
        write_parquet(tmp_path / "parts" / "a.parquet", [png(image) for image in images], [0] * 24).parent,
    ]
    for form in forms:
        found = read_log(form, GREY)
        assert found.dtype == torch.uint8 and tuple(found.shape) == (24, *GREY), form
        assert {tuple(image.ravel().tolist()) for image in found} == as_set, form


def test_a_log_of_other_shapes_is_refused_and_says_which(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds images of \(1, 6, 6\).*the victim takes \(1, 8, 8\)"):
        read_log(folder_of(tmp_path, pixels(24, size=6)), GREY)


def test_images_of_another_task_are_made_to_fit(tmp_path: Path) -> None:
    found = read_foreign(folder_of(tmp_path / "coloured", pixels(21, channels=3, size=12)), GREY)
    assert tuple(found.shape) == (21, *GREY) and found.float().std() > 10
    grey = np.full((21, 1, 8, 8), 77, np.uint8)
    assert (read_foreign(folder_of(tmp_path / "grey", grey), (3, 5, 5)) == 77).all()
    data = write_idx(
        tmp_path / "idx", (pixels(5)[:, 0], np.arange(5) % 3), (pixels(30)[:, 0], np.arange(30) % 3)
    )
    assert len(read_foreign(data, GREY)) == 30, "the test images of a data folder"


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; expected images of the query log"):
        read_log(tmp_path / "none", GREY)
    (tmp_path / "text.txt").write_text("no image")
    with pytest.raises(DataError, match=r"is not a folder, \.parquet or \.npz"):
        read_log(tmp_path / "text.txt", GREY)
    with pytest.raises(DataError, match="holds 3 images of another task; expected 20 at least"):
        read_foreign(folder_of(tmp_path / "few", pixels(3)), GREY)
    np.savez(tmp_path / "bad.npz", images=pixels(24).astype(np.float32) / 4)
    with pytest.raises(
        DataError,
        match=(
            r"images are float32 from 0 to 63.75, which more than one range fits; state black and"
            r" white: --value-range"
        ),
    ):
        read_log(tmp_path / "bad.npz", GREY)
    pq.write_table(pa.table({"drawing": [0.5]}), tmp_path / "named.parquet")
    with pytest.raises(
        DataError, match=r"has columns drawing, and none of them holds encoded images .*--image-column NAME"
    ):
        read_log(tmp_path / "named.parquet", GREY)
    pq.write_table(pa.table({"image": [1] * 30}), tmp_path / "numbers.parquet")
    with pytest.raises(DataError, match="has columns image, and none of them holds encoded images"):
        read_log(tmp_path / "numbers.parquet", GREY)
    pq.write_table(pa.table({"image": [None, png(pixels(1)[0])]}), tmp_path / "null.parquet")
    with pytest.raises(DataError, match="row 0: image is null; expected the bytes"):
        read_log(tmp_path / "null.parquet", GREY)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5), (1, 1, 1)])
def test_textures_are_many_and_follow_from_the_seed(shape: tuple[int, int, int]) -> None:
    found = textures(6, shape, 3)
    assert found.dtype == torch.uint8 and tuple(found.shape) == (6, *shape)
    assert torch.equal(found, textures(6, shape, 3))
    if shape[1] > 1:
        assert not torch.equal(found, textures(6, shape, 4))
        assert len({image.numpy().tobytes() for image in found}) == 6
        assert all(int(image.max()) == 255 and int(image.min()) == 0 for image in found)
