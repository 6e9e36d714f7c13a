"""Versions of the methods. Results in a store are named after their inputs and these versions.

Raise a stage's number when the same inputs give another result; results under the old number are then
computed again. Do not raise it for a change that leaves results as they are (wording, speed, code layout);
stored results stay valid. tests/unit/test_methods.py holds a small result of each stage, and fails if a
result changes without its number.
"""

METHODS = {
    "uap": 1,  # crafting perturbations: universal and local ones
    "points": 1,  # choosing datapoints and views
    "encoder": 1,  # fingerprints, encoder and similarity
    "verdict": 1,  # the twin test and the paper's t-test
    "baselines": 1,  # other methods' questions and scores
    "studies": 1,  # the studies' questions, and what they count
    "sweep": 1,  # what a sweep's trial measures
}
"""By stage. A network's architecture and training have their own number, ``ModelSpec.version``."""


def versions_of(*stages: str) -> str:
    """The versions of these stages, for the names of results: ``encoder-1.verdict-1``."""
    return ".".join(f"{stage}-{METHODS[stage]}" for stage in stages)
