"""Folders of transformers: the probabilities of the library's own pipeline, its classes by name, nothing
downloaded, no code run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from tests.support.hub import CLASSES, PROCESSORS, asked, blobs, vit
from zooaudit.errors import ConfigError, InputError, ModelError
from zooaudit.suspects import files
from zooaudit.suspects.factories import call_factory
from zooaudit.suspects.load import Loaded, load


def resnet(folder: Path, labels: tuple[str, ...] = CLASSES) -> nn.Module:
    torch.manual_seed(1)
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(labels)),
        downsample_in_first_stage=True,
    )
    model = transformers.ResNetForImageClassification(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("shape", [(40, 32), (16, 16)])
def test_probabilities_are_those_of_its_own_pipeline(
    name: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    model, processor = vit(tmp_path), PROCESSORS[name]()
    processor.save_pretrained(tmp_path)
    loaded = load(tmp_path, None, asked((3, *shape)))
    images = blobs(6, *shape)
    given = processor(
        list((images * 255).to(torch.uint8)), return_tensors="pt", input_data_format="channels_first"
    )
    with torch.no_grad():
        theirs = model(given["pixel_values"]).logits.softmax(1)
    pixels, span = loaded.module.prepare(images), given["pixel_values"].std() * 4
    assert float((pixels - given["pixel_values"]).abs().max()) < 0.016 * float(span), (
        "rounding to 8 bits, no more"
    )
    torch.testing.assert_close(loaded.module(images).softmax(1), theirs, atol=0.02, rtol=0)
    assert loaded.module(images).softmax(1).std(0).max() > 0.02, "the images differ"
    assert any("preprocessor_config.json" in note for note in loaded.notes)


def test_a_resnet_of_grey_images_and_its_gradients(tmp_path: Path) -> None:
    model = resnet(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875).save_pretrained(tmp_path)
    loaded = load(tmp_path, None, asked((1, 28, 28)))
    images = blobs(3, 28, 28, 1).requires_grad_()
    out = loaded.module(images)
    colours = loaded.module.prepare(images)
    assert colours.shape == (3, 3, 32, 32)
    torch.testing.assert_close(out, model(colours).logits)
    (gradient,) = torch.autograd.grad(out.square().sum(), images)
    assert gradient.abs().sum() > 0


def test_a_net_of_one_channel_is_given_grey_images(tmp_path: Path) -> None:
    torch.manual_seed(2)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=24,
        patch_size=8,
        num_channels=1,
        id2label=dict(enumerate(CLASSES)),
        label2id={n: i for i, n in enumerate(CLASSES)},
    )
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(
        size={"height": 24, "width": 24}, image_mean=[0.5], image_std=[0.25]
    )
    processor.save_pretrained(tmp_path)
    grey = blobs(3, 24, 24, 1)
    with torch.no_grad():
        expected = model((grey - 0.5) / 0.25).logits
    loaded = load(tmp_path, None, asked((1, 24, 24)))
    torch.testing.assert_close(loaded.module(grey), expected)
    colours = load(tmp_path, None, asked((3, 24, 24)))
    torch.testing.assert_close(colours.module(grey.expand(-1, 3, -1, -1)), expected)
    assert (
        "takes 1 channel: colours become grey by .299, .587, .114" in colours.notes and len(loaded.notes) == 2
    )
    (tmp_path / "preprocessor_config.json").unlink()
    said = load(tmp_path, None, asked((1, 24, 24), input={"mean": [0.5], "std": [0.25]}))
    torch.testing.assert_close(said.module(grey), expected)


def test_classes_are_found_by_name(tmp_path: Path) -> None:
    model = vit(tmp_path, labels=("Owl", "background", "cat", "dog"))
    PROCESSORS["squashed"]().save_pretrained(tmp_path)
    loaded = load(tmp_path, None, asked((3, 24, 24)))
    images = blobs(4, 24, 24)
    theirs = model(loaded.module.prepare(images)).logits[:, [2, 3, 0]]
    torch.testing.assert_close(loaded.module(images), theirs)
    assert any("by name" in note for note in loaded.notes)
    with pytest.raises(
        ConfigError,
        match=r"of the kit's 3 lacks 1 by name: emu; state the column of each: --contract classes.columns",
    ):
        load(tmp_path, None, asked((3, 24, 24), ("cat", "dog", "emu")))
    some = load(tmp_path, None, asked((3, 24, 24), ("cat", "dog", "emu"), classes={"missing": ["emu"]}))
    torch.testing.assert_close(
        some.module(images)[:, :2], model(some.module.prepare(images)).logits[:, [2, 3]].softmax(1)
    )
    assert (some.module(images)[:, 2] == 0).all()
    result = load(tmp_path, None, asked((3, 24, 24), ("cat", "dog", "emu"), classes={"columns": [2, 3, 0]}))
    torch.testing.assert_close(result.module(images), theirs)


def test_names_that_say_nothing_leave_the_order(tmp_path: Path) -> None:
    vit(tmp_path, labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    PROCESSORS["squashed"]().save_pretrained(tmp_path)
    assert load(tmp_path, None, asked((3, 24, 24))).module.columns == ()
    other = load(tmp_path, None, asked((3, 24, 24), ("0", "1", "2")))
    assert other.module.columns == ()


def test_sharded_and_half_precision_weights(tmp_path: Path) -> None:
    model = vit(tmp_path, max_shard_size="10KB")
    PROCESSORS["squashed"]().save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1 and not (tmp_path / "model.safetensors").exists()
    before = files.digest(files.files_of(tmp_path))
    loaded, images = load(tmp_path, None, asked((3, 24, 24))), blobs(2, 24, 24)
    torch.testing.assert_close(loaded.module(images), model(loaded.module.prepare(images)).logits)
    raw = bytearray(shards[-1].read_bytes())
    raw[-1] ^= 1
    shards[-1].write_bytes(raw)
    assert files.digest(files.files_of(tmp_path)) != before, "every shard decides"
    shards[0].unlink()
    with pytest.raises(ModelError, match="which is not there"):
        load(tmp_path, None, asked((3, 24, 24)))


def test_the_digest_covers_the_preprocessor(tmp_path: Path) -> None:
    vit(tmp_path)
    PROCESSORS["squashed"]().save_pretrained(tmp_path)
    before = files.digest(files.files_of(tmp_path))
    path = tmp_path / "preprocessor_config.json"
    path.write_text(path.read_text().replace("0.5", "0.4"))
    assert files.digest(files.files_of(tmp_path)) != before


def refused(folder: Path, *words: str, **tables: Any) -> None:
    with pytest.raises(InputError) as caught:
        load(folder, None, asked((3, 24, 24), **tables))
    for word in (str(folder), *words):
        assert word in str(caught.value), str(caught.value)


def test_a_folder_without_a_preprocessor_is_asked_for_one(tmp_path: Path) -> None:
    model = vit(tmp_path)
    refused(tmp_path, "has no preprocessor_config.json", "--contract 'input.size=")
    loaded = load(tmp_path, None, asked((3, 24, 24), input={"mean": [0.5], "std": [0.25]}))
    images = blobs(2, 24, 24)
    torch.testing.assert_close(loaded.module(images), model((images - 0.5) / 0.25).logits)


def test_what_is_said_wins_over_the_preprocessor(tmp_path: Path) -> None:
    model = vit(tmp_path)
    PROCESSORS["squashed"]().save_pretrained(tmp_path)
    loaded = load(tmp_path, None, asked((3, 24, 24), input={"mean": [0.1], "std": [0.25]}))
    images = blobs(2, 24, 24)
    torch.testing.assert_close(loaded.module(images), model((images - 0.1) / 0.25).logits)


def test_pickles_code_and_missing_heads_are_refused(tmp_path: Path) -> None:
    vit(tmp_path)
    PROCESSORS["squashed"]().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    from safetensors.torch import load_file, save_file

    state = load_file(weights)
    save_file({k: v for k, v in state.items() if k != "classifier.weight"}, weights, {"format": "pt"})
    refused(tmp_path, "lack classifier.weight", "its head included")
    torch.save(state, tmp_path / "pytorch_model.bin")
    weights.unlink()
    refused(tmp_path, "pytorch_model.bin", "never opened", "safe_serialization=True")
    save_file(state, weights, {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    evil = config | {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "evil.C", "AutoModelForImageClassification": "evil.M"},
    }
    (tmp_path / "config.json").write_text(json.dumps(evil))
    refused(tmp_path, "not an image classifier that transformers can load")
    assert not (tmp_path / "marker").exists()
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "timm_wrapper", "architecture": "hf-hub:evil/net"})
    )
    refused(tmp_path, "expected one of timm.list_models()")


def test_a_preprocessor_that_does_something_else_is_refused(tmp_path: Path) -> None:
    vit(tmp_path)
    PROCESSORS["squashed"]().save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    data = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            data
            | {
                "image_processor_type": "ChineseCLIPImageProcessor",
                "size": {"shortest_edge": 24, "longest_edge": 30},
            }
        )
    )
    refused(tmp_path, "--contract input.size")


def test_a_folder_is_a_factory(tmp_path: Path) -> None:
    model = vit(tmp_path / "folder")
    built = call_factory(f"hf:{tmp_path / 'folder'}")
    assert built.state_dict().keys() == model.state_dict().keys()
    path = tmp_path / "twin.safetensors"
    from safetensors.torch import save_file

    save_file(model.state_dict(), path)
    loaded: Loaded = load(
        path, f"hf:{tmp_path / 'folder'}", asked((3, 24, 24), input={"mean": [0.5], "std": [0.5]})
    )
    images = blobs(2, 24, 24)
    torch.testing.assert_close(loaded.module(images), model(images * 2 - 1).logits)
    with pytest.raises(ModelError, match="cannot be read"):
        call_factory(f"hf:{tmp_path / 'nowhere'}")


def test_a_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "folder without config.json")
    (tmp_path / "config.json").write_text("[1]")
    refused(tmp_path, "holds a list; expected a JSON object")
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, "has no model.safetensors")
