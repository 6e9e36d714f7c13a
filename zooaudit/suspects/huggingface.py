"""A folder as transformers writes it: an image classifier (``config.json``, safetensors)
with its own preprocessing.

Local files only, no code from the folder, no pickles. ``preprocessor_config.json`` becomes a contract, which
is checked against the processor itself on random images: a processor that does anything else is refused.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from zooaudit.errors import ModelError
from zooaudit.suspects.contract import Contract, Input
from zooaudit.suspects.files import read_json, weights_in
from zooaudit.suspects.hf_process import PREPROCESSOR, pixel_difference, reason
from zooaudit.suspects.named_nets import library
from zooaudit.suspects.raw import Raw
from zooaudit.suspects.weights import refuse_pickle

PREFIX = "hf"
RESAMPLE: tuple[Any, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Names of filters by Pillow's number."""


def read_folder(folder: Path, stated: Input, image_shape: tuple[int, int, int]) -> Raw:
    """Read the classifier in a folder.

    Args:
        stated: the stated input; with it, a folder without a preprocessor is accepted.
        image_shape: of the images that it will be asked.

    Raises:
        ModelError: what is wrong with the folder, and what was expected.
    """
    for path in weights_in(folder):
        if path.suffix == ".safetensors":
            refuse_pickle(path)
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter; expected a whole model: merge it by model.merge_and_unload() and"
            " save that"
        )
    transformers = library("transformers", str(folder))
    _check_named(read_json(folder / "config.json"), folder)
    with _quiet(transformers), torch.random.fork_rng([]):
        try:
            module, info = transformers.AutoModelForImageClassification.from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="eager",
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises many kinds
            raise ModelError(
                f"{folder} is not an image classifier that transformers can load ({reason(error)})"
            ) from error
    _check_whole(module, info, folder)
    grey = getattr(module.config, "num_channels", 3) == 1
    seen, notes = _preprocessing(folder, stated, image_shape, grey)
    return Raw(
        module,
        seen,
        _labels(module.config),
        notes=(f"config.json: transformers' {type(module).__name__}", *notes),
    )


def empty(folder: Path) -> nn.Module:
    """The net that a folder's ``config.json`` describes, with random weights: a factory for twins.

    Raises:
        ModelError: transformers knows no such net.
    """
    transformers = library("transformers", str(folder))
    _check_named(read_json(folder / "config.json"), folder)
    with _quiet(transformers), torch.random.fork_rng([]):
        try:
            config = transformers.AutoConfig.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
            return cast(
                nn.Module,
                transformers.AutoModelForImageClassification.from_config(
                    config, trust_remote_code=False, attn_implementation="eager", dtype=torch.float32
                ),
            )
        except Exception as error:  # transformers raises many kinds
            raise ModelError(
                f"{folder} is not an image classifier that transformers can build ({reason(error)})"
            ) from error


def _check_named(data: Mapping[str, Any], folder: Path) -> None:
    """Refuse a timm net that is named by an address, since it would be downloaded."""
    name = data.get("architecture")
    if data.get("model_type") == "timm_wrapper" and not library("timm", str(folder)).is_model(str(name)):
        raise ModelError(
            f"{folder / 'config.json'} has architecture {str(name)[:80]!r}; expected one of"
            " timm.list_models()"
        )


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without warnings and progress bars, as missing weights are an error here; and without the network,
    whatever a folder names."""
    logging, hub = transformers.utils.logging, library("huggingface_hub.constants", "transformers")
    online, hub.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE, True
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = online
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _check_whole(module: nn.Module, info: Mapping[str, Any], folder: Path) -> None:
    """Refuse missing weights, which transformers would fill with random numbers."""
    missing, other = sorted(info.get("missing_keys", ())), sorted(map(str, info.get("mismatched_keys", ())))
    if missing or other:
        lacks = f"lack {missing[0]}" if missing else f"hold {other[0]} in another shape"
        more = f" and {len(missing) + len(other) - 1} more" if len(missing) + len(other) > 1 else ""
        raise ModelError(
            f"{folder}: its weights {lacks}{more}; expected those of the whole {type(module).__name__}, its"
            " head included"
        )
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{folder}: {name} holds NaN or infinite values; expected finite weights")


def _labels(config: Any) -> tuple[str, ...]:
    result = getattr(config, "id2label", None) or {}
    names = tuple(str(result[key]) for key in sorted(result, key=int))
    # transformers' default names, which say nothing.
    return () if all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names


def _preprocessing(
    folder: Path, stated: Input, image_shape: tuple[int, int, int], grey: bool
) -> tuple[Contract, tuple[str, ...]]:
    """The contract of a folder's processor; ``grey``: for a net with one channel."""
    channels = Contract(Input(channels="grey" if grey else ""))
    if stated.size and (stated.mean or stated.range):
        return channels, ()  # everything else is stated
    if not (folder / PREPROCESSOR).is_file():
        if stated != Input():
            return channels, ()
        raise ModelError(
            f"{folder} has no {PREPROCESSOR}, so its preprocessing is unknown; state it, for example "
            "--contract 'input.size=[224, 224]' input.resize=shorter 'input.mean=[0.5]' 'input.std=[0.5]'"
        )
    transformers = library("transformers", str(folder))
    with _quiet(transformers):
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # transformers raises many kinds
            raise ModelError(
                f"{folder / PREPROCESSOR} is not an image processor that transformers knows ({reason(error)})"
            ) from error
    seen = _seen(processor, folder, grey)
    apart = pixel_difference(processor, seen, (1 if grey else 3, *image_shape[1:]), folder)
    note = (
        f"{PREPROCESSOR}: {type(processor).__name__}, whose pixels differ from ours by rounding, by"
        f" {apart:.2g} of the range at most"
    )
    more = (
        ("takes 1 channel: colours become grey by .299, .587, .114",) if grey and image_shape[0] == 3 else ()
    )
    return Contract(seen), (note, *more)


def _seen(processor: Any, folder: Path, grey: bool) -> Input:
    def setting(name: str, default: Any = None) -> Any:
        value = getattr(processor, name, default)
        return default if value is None else value

    fields: dict[str, Any] = _resizing(setting, folder)
    low, high = (
        0.0,
        (255.0 * float(setting("rescale_factor", 1 / 255)) if setting("do_rescale", False) else 255.0),
    )
    if setting("rescale_offset", False) and setting("do_rescale", False):
        low, high = low - 1, high - 1
    if abs(low) > 1e-6 or abs(high - 1) > 1e-6:
        fields["range"] = (low, high)
    if setting("do_normalize", False):
        fields |= {name: tuple(map(float, setting(f"image_{name}"))) for name in ("mean", "std")}
    bgr = setting("do_flip_channel_order", False)
    return Input(**fields, channels="grey" if grey else "bgr" if bgr else "rgb")


def _resizing(result: Any, folder: Path) -> dict[str, Any]:
    size, crop = (
        _sides(result("size")),
        (_sides(result("crop_size")) if result("do_center_crop", False) else None),
    )
    if not result("do_resize", False):
        return {"size": crop, "resize": "crop", "cut": "floor"} if crop else {}
    number = int(result("resample", 2))
    filter_ = RESAMPLE[number] if 0 <= number < len(RESAMPLE) else ""
    if size is None or not filter_:
        raise ModelError(
            f"{folder / PREPROCESSOR} has size {result('size')}, resample {number}; state what it does:"
            " --contract input.size=..."
        )
    if len(size) == 1 and result("crop_pct") is not None and result("do_center_crop") is None:  # ConvNeXt's
        side, share = size[0], float(result("crop_pct"))
        if side < 384:
            return {
                "size": (side, side),
                "resize": "shorter",
                "resize_to": (int(side / share),),
                "filter": filter_,
                "cut": "floor",
            }
        return {"size": (side, side), "resize": "squash", "filter": filter_}
    if len(size) == 1:
        return {
            "size": crop or (size[0], size[0]),
            "resize": "shorter",
            "resize_to": size,
            "filter": filter_,
            "cut": "floor",
        }
    return {"size": crop or size, "resize": "squash", "resize_to": size, "filter": filter_, "cut": "floor"}


def _sides(size: Any) -> tuple[int, ...] | None:
    """Height and width, or the shorter side alone."""
    if isinstance(size, int):
        return (size,)
    data = (
        dict(size)
        if isinstance(size, Mapping)
        else {k: v for k, v in vars(size or object).items() if not k.startswith("_")}
    )
    data = {k: v for k, v in data.items() if v is not None}
    if {"height", "width"} <= data.keys():
        return int(data["height"]), int(data["width"])
    return (int(data["shortest_edge"]),) if "shortest_edge" in data and "longest_edge" not in data else None
