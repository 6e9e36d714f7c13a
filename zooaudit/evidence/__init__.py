"""Evidence that holds up: a kit's commitment before a suspect is asked, a pack that somebody else can check,
and the check.

An owner may be dishonest. A kit with invented references accuses everybody; one whose victim was distilled
from the suspect accuses that suspect. So the checker of a pack recomputes its verdict, and then tests the kit
on models that the checker trained, whose history is therefore known: fresh twins of the victim, among which
the victim must still stand out, and references.
"""
