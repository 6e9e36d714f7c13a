"""Images in archives."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

from tests.support.makers import pixels, png

IMAGES = pixels(12, seed=8)
PNGS = [png(image) for image in IMAGES]
LABELS = [i % 3 for i in range(12)]
Members = list[tuple[str, bytes]]


def tar(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(rows: range, label: str = "cls") -> Members:
    found = []
    for i in rows:
        text = json.dumps({"label": LABELS[i], "width": 8}) if label == "json" else f"{LABELS[i]}\n"
        found += [(f"shard/{i:04}.png", PNGS[i]), (f"shard/{i:04}.{label}", text.encode())]
    return found


def shards(folder: Path, label: str = "cls") -> Path:
    tar(folder / "train-000000.tar", samples(range(7), label))
    tar(folder / "train-000001.tar", samples(range(7, 12), label))
    tar(folder / "test-000000.tar", samples(range(12), label))
    return folder


def zipped(source: Path, target: Path, top: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, top + path.relative_to(source).as_posix())
    return target
