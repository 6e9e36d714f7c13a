"""Evidence that holds up: a kit's commitment before anybody is asked, a pack that another
can check, and the check.

An owner may be dishonest. A kit whose references are invented accuses everybody; one whose copies were
distilled from the suspect accuses that suspect. So whoever checks a pack recomputes its verdict, and then
puts the kit to the test on models whose history he knows because he made them: innocent ones, which it must
not accuse, and copies of the victim, which it must; and on the victim itself.
"""
