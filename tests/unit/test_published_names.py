"""Names of published models."""

import pytest
import torch

from zooaudit.studies import published_names, published_weights
from zooaudit.studies.published_names import BENCHMARKS, architecture, hub_name, stored


def test_every_name_comes_back_from_what_the_hub_calls_it() -> None:
    for benchmark in BENCHMARKS:
        assert len(benchmark.by_folder) == len({stored(m) for m in benchmark.models})
        for folder, name in benchmark.by_folder.items():
            assert folder == f"{benchmark.name}-{hub_name(name)}" and not set(folder) & set("(),>"), folder
    assert hub_name("train(vgg_model,CIFAR10,base)->finetune(3)") == "train.vgg_model.CIFAR10.base-finetune.3"
    reuse = "pretrain(mbnetv2,imagenet-1k)->transfer(Flower102,0.1)->distill()"
    assert hub_name(reuse) == "pretrain.mbnetv2.imagenet-1k-transfer.Flower102.0_1-distill"


def test_the_benchmarks_hold_the_pairs_of_their_papers() -> None:
    sac, flowers, dogs = BENCHMARKS
    assert [len(b.models) for b in BENCHMARKS] == [131, 68, 68] and [len(b.victims) for b in BENCHMARKS] == [
        1,
        8,
        8,
    ]
    assert sum(p.stolen for p in sac.pairs) == 100 and sum(not p.stolen for p in sac.pairs) == 30
    assert {p.task for p in sac.pairs if p.stolen} == {*published_names.NOT_TRANSFER, "transfer"}
    assert [sum(p.stolen is s for p in flowers.pairs) for s in (True, False)] == [60, 368] and len(
        dogs.pairs
    ) == 428
    scratch = "train(resnet18,Flower102)"
    mine = [p for p in flowers.pairs if p.victim == scratch]
    assert {p.task for p in mine if p.stolen} == {
        "prune",
        "steal",
        "distill",
    }, "no quantised models of those trained from nothing"
    same = "pretrain(resnet18,imagenet-1k)->transfer(Flower102,0.5)"
    assert not any(
        p.suspect.startswith("pretrain(resnet18") for p in flowers.pairs if p.victim == same and not p.stolen
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train(vgg_model,CIFAR10,base)", "vgg_model"),
        ("train(vgg_model,CIFAR10,base)->fineprune(1)", "vgg_model"),
        ("train(vgg_model,CIFAR10,base)->adv_label_extraction(densenet121,12)", "densenet121"),
        ("pretrain(resnet18,imagenet-1k)->transfer(SDog120,1.0)->steal(mbnetv2)", "mbnetv2"),
        ("pretrain(mbnetv2,imagenet-1k)->transfer(SDog120,1.0)->quantize(qint8)", "mbnetv2"),
    ],
)
def test_a_name_tells_the_net(name: str, expected: str) -> None:
    assert architecture(name) == expected


def test_every_net_of_the_benchmarks_is_torchvisions() -> None:
    from zooaudit.suspects.named_nets import maker

    own = {architecture(m) for b in BENCHMARKS for m in b.models}
    assert own == {"vgg_model", "vgg16_bn", "vgg13", "resnet18", "densenet121", "mobilenet_v2", "mbnetv2"}
    with torch.device("meta"):
        for one in own:
            maker(f"torchvision:{published_weights.NETS.get(one, one)}")(num_classes=10)
