"""The Python API, ``import zooaudit as za``: what the command line does, as functions and values.

Errors are those of :mod:`zooaudit.errors`; their messages name the options of the command line, which are the
keywords here: ``--suspect-classes`` is ``suspect_classes``.
"""

from zooaudit.api.audits import Audit, Recipe, audit
from zooaudit.api.evidence import Verification, verify
from zooaudit.api.scores import HttpSuspect, Kit, Score, load_kit, score_many

__all__ = [
    "Audit",
    "HttpSuspect",
    "Kit",
    "Recipe",
    "Score",
    "Verification",
    "audit",
    "load_kit",
    "score_many",
    "verify",
]
