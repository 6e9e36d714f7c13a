"""The only numbers of a report that do not come from its audit: test accuracies that the paper states."""

from zooaudit.zoo.spec import Role

PAPER = "Peng et al., CVPR 2022, arXiv 2202.08602"

PAPER_ACCURACY: dict[str, dict[tuple[str, Role], float]] = {
    "fashion-mnist": {
        ("A", Role.VICTIM): 0.898,
        ("B", Role.HOMOLOGOUS): 0.856,
        ("B", Role.PIRACY): 0.879,
        ("C", Role.HOMOLOGOUS): 0.910,
        ("C", Role.PIRACY): 0.873,
        ("D", Role.HOMOLOGOUS): 0.865,
        ("D", Role.PIRACY): 0.870,
        ("E", Role.HOMOLOGOUS): 0.881,
        ("E", Role.PIRACY): 0.885,
    },
    "cifar10": {
        ("resnet18", Role.VICTIM): 0.893,
        ("resnet34", Role.HOMOLOGOUS): 0.896,
        ("resnet34", Role.PIRACY): 0.892,
        ("vgg16", Role.HOMOLOGOUS): 0.923,
        ("vgg16", Role.PIRACY): 0.886,
        ("googlenet", Role.HOMOLOGOUS): 0.919,
        ("googlenet", Role.PIRACY): 0.908,
        ("densenet121", Role.HOMOLOGOUS): 0.919,
        ("densenet121", Role.PIRACY): 0.896,
    },
    "tiny-imagenet": {
        ("resnet18", Role.VICTIM): 0.477,
        ("resnet34", Role.HOMOLOGOUS): 0.475,
        ("resnet34", Role.PIRACY): 0.435,
        ("vgg16", Role.HOMOLOGOUS): 0.495,
        ("vgg16", Role.PIRACY): 0.439,
        ("googlenet", Role.HOMOLOGOUS): 0.456,
        ("googlenet", Role.PIRACY): 0.352,
        ("densenet121", Role.HOMOLOGOUS): 0.541,
        ("densenet121", Role.PIRACY): 0.411,
    },
}
"""Mean test accuracy by dataset, then architecture and role. The paper says "normal" for homologous and
"extracted" for piracy models."""
