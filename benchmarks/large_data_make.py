"""Write 100,000 JPEGs of 224 x 224 pixels in 200 classes, under 2 GB, from TinyImageNet's first 50 classes.

    python benchmarks/large_data_make.py --tiny-imagenet DIR --out DIR [--images 100000]

Each training image is enlarged and cut four ways, each way a class of its own; the test split is made of the
validation images. What is there is skipped.
"""

import argparse
import io
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from zooaudit.data.on_disk import in_memory
from zooaudit.data.resolve import resolve

SIDE, QUALITY, WAYS = 224, 82, 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny-imagenet", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100_000)
    args = parser.parse_args()
    found = resolve("tiny-imagenet-50", args.tiny_imagenet)
    for name, part, most in (("train", found.train, args.images), ("test", found.test, args.images // 10)):
        rows = [(i, way) for i in range(len(part)) for way in range(WAYS)][:most]
        pixels, labels = in_memory(part.images).numpy(), part.labels.tolist()
        for label in range(found.num_classes):
            for way in range(WAYS):
                (args.out / name / f"{label:02}-{way}").mkdir(parents=True, exist_ok=True)
        jobs = [
            (pixels[i], args.out / name / f"{labels[i]:02}-{way}" / f"{i:05}.jpg", way) for i, way in rows
        ]
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(write, jobs, chunksize=200))


def write(job: tuple[np.ndarray, Path, int]) -> None:
    """One image, enlarged and cut one of the ways."""
    pixels, path, way = job
    if path.exists():
        return
    image = Image.fromarray(pixels.transpose(1, 2, 0)).resize((288, 288), Image.Resampling.BICUBIC)
    left, top = (way % 2) * 64, (way // 2) * 64
    noise = np.random.default_rng(way).integers(-6, 7, (SIDE, SIDE, 3))
    cut = np.asarray(image.crop((left, top, left + SIDE, top + SIDE))).astype(np.int16) + noise
    content = io.BytesIO()
    Image.fromarray(cut.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=QUALITY)
    path.write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
