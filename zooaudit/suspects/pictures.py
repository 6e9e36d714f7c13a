"""Encode images for suspects: as files, or as numbers of a type and a layout. Pure: tensors in, bytes and
arrays out."""

import io
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zooaudit.errors import ConfigError

Layout = Literal["nchw", "nhwc", "flat"]
LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc", "flat")
PNG, JPEG, NPY = "image/png", "image/jpeg", "application/x-npy"
MEDIA = (PNG, JPEG, NPY)
SLACK = 1e-3
"""How far pixels may lie outside [0, 1], by rounding."""
QUALITY = 95
"""Options of JPEGs: colours are not subsampled; still, a JPEG is not quite the original image."""
DTYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""numpy's names of the Open Inference Protocol's types; BF16 and BYTES have none."""
NUMBERS = (
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
)
"""Types that an image's numbers may have."""


def png(image: Tensor) -> bytes:
    """Float ``[c, h, w]`` in [0, 1] as a PNG of 8 bits a channel; pixels are rounded to multiples of 1 /
    255."""
    return _packed(image, "PNG")


def jpeg(image: Tensor) -> bytes:
    """Float ``[c, h, w]`` in [0, 1] as a JPEG, which changes pixels a little."""
    return _packed(image, "JPEG", quality=QUALITY, subsampling=0)


def npy(array: np.ndarray) -> bytes:
    """An array as numpy's ``.npy``."""
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    return packed.getvalue()


def _packed(image: Tensor, kind: str, **options: int) -> bytes:
    if float(image.min()) < -SLACK or float(image.max()) > 1 + SLACK:
        span = f"from {float(image.min()):.3g} to {float(image.max()):.3g}"
        raise ConfigError(
            f"images have numbers {span}, which a {kind} cannot hold; expected [0, 1]: leave mean, std and"
            " range to the suspect"
        )
    pixels = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    packed = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(packed, kind, **options)
    return packed.getvalue()


def numbers(images: Tensor, layout: Layout, scale: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """Float images ``[n, c, h, w]``, times ``scale``, plus ``offset``, as float32
    ``[n, ...]`` in a layout."""
    scaled = ((images * scale + offset) if offset else images * scale).cpu().numpy().astype(np.float32)
    if layout == "nhwc":
        return scaled.transpose(0, 2, 3, 1)
    return scaled.reshape(len(scaled), -1) if layout == "flat" else scaled


def is_whole(datatype: str) -> bool:
    """Whether a type is an integer type."""
    return "INT" in datatype


def cast(values: np.ndarray, datatype: str) -> np.ndarray:
    """Float32 numbers as a type of the Open Inference Protocol, little endian; integers are rounded. BF16 is
    returned as uint16.

    Raises:
        ConfigError: the values do not fit the type.
    """
    if datatype == "BF16":
        return (
            torch.from_numpy(np.ascontiguousarray(values))
            .to(torch.bfloat16)
            .view(torch.int16)
            .numpy()
            .view("<u2")
        )
    kind = np.dtype(DTYPES[datatype])
    if is_whole(datatype):
        rounded, limits = np.rint(values), np.iinfo(kind)
        if values.size and not (limits.min <= rounded.min() and rounded.max() <= limits.max):
            found = f"pixels from {values.min():.4g} to {values.max():.4g}"
            raise ConfigError(
                f"{found} do not fit {datatype} ({limits.min} to {limits.max}); give another scale or offset"
            )
        return rounded.astype(kind)
    return values.astype(kind)
