"""Versions of what is computed. Whatever is kept in a store is named after its inputs and after these.

Raise a stage's number when the same inputs give another result; results kept under the old number are then
made again. A change that leaves results as they were (words, speed, another layout of the code) leaves the
number as it is, and keeps what is stored. tests/unit/test_methods.py holds a small result of each stage, and
fails when one changes and its number does not.
"""

METHODS = {
    "uap": 1,  # crafting perturbations: universal and local ones
    "points": 1,  # choosing datapoints and views
    "encoder": 1,  # fingerprints, encoder and similarity
    "verdict": 1,  # the twin test and the paper's t-test
    "baselines": 1,  # other methods' questions and scores
    "studies": 1,  # the questions that studies make, and what they count
    "sweep": 1,  # what a trial of a sweep measures
}
"""By stage. A network's architecture and training have a number of their own: ``ModelSpec.version``."""


def versions_of(*stages: str) -> str:
    """The versions of these stages, for the name of what is kept: ``encoder-1.verdict-1``."""
    return ".".join(f"{stage}-{METHODS[stage]}" for stage in stages)
