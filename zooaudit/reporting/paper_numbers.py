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
    }
}
"""Mean test accuracy by dataset, then architecture and role. The paper says "normal" for homologous and "extracted" for piracy models."""
