"""The twin test on one open suspect: whether it is worth asking, its answers, the verdict."""

from collections.abc import Callable

from zooaudit.auditing.suspect_check import Noticed, noticed
from zooaudit.kits.kit import Kit
from zooaudit.scoring.settings import ScoreSettings
from zooaudit.suspects.opened import OpenSuspect
from zooaudit.verdict.decision import Asked, TwinVerdict, cannot_tell
from zooaudit.verdict.examined import Examined

OnLook = Callable[[Examined], None]


def worth_asking(kit: Kit, opened: OpenSuspect, name: str, settings: ScoreSettings) -> Noticed:
    """Check whether a suspect is worth asking, by the kit and by its answers to the control questions. If the
    kit cannot accuse anybody, nothing is asked, since it may cost money."""
    if why := kit.twin_test.barred(settings.level, settings.p_value):
        return Noticed(why)
    if settings.others(kit):
        return Noticed()
    return noticed(kit.twin_test, opened, name, settings.ask_everything)


def examined(
    kit: Kit, opened: OpenSuspect, settings: ScoreSettings, early: bool, on_look: OnLook
) -> Examined:
    """Ask a suspect, or read its answers, and judge it. ``early``: stop asking once the decision is
    settled."""
    test = kit.twin_test
    if opened.answers is None:
        return test.examine(
            opened.black_box,
            settings.level,
            settings.read_as,
            settings.p_value,
            settings.queries,
            early,
            on_look,
        )
    answers = opened.answers[: settings.horizon(kit)]
    found = test.judge(answers, settings.level, settings.read_as, settings.p_value, settings.queries)
    on_look(found)
    return found


def not_judged(kit: Kit, settings: ScoreSettings, why: str, queries: int) -> TwinVerdict:
    """The verdict on a suspect that failed, or that was not worth asking any further."""
    level = kit.twin_test.level if settings.level is None else settings.level
    return cannot_tell(
        why,
        kit.twin_test.twins,
        level,
        Asked(settings.access, queries, settings.horizon(kit)),
        settings.p_value,
    )
