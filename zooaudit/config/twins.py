"""The twin test: level, questions, looks."""

from dataclasses import dataclass, field

from zooaudit.config.basics import DEFENCES, LATER, Defence, check


@dataclass(frozen=True)
class TwinTestConfig:
    """What a suspect is asked, and whom the verdict may accuse (docs/statistics.md)."""

    level: float = 0.05
    """At most this share of innocent suspects is accused; below 1 / (twins + 1) nobody is."""
    control_questions: int = 100
    """Images of the victim's task at random, asked first: whether a suspect does it. Of a
    small pool, a fifth at most."""
    looks: tuple[int, ...] = (250, 500, 1000)
    """After how many questions the statistic is looked at; the last is how many there are,
    fewer if the pools hold fewer."""
    pool: int = 3000
    """Images of a family that every candidate and reference is asked, for the questions to be chosen from."""
    foreign: int = 1
    """Questions are shared among the families at hand as so many parts: images of another
    task (or textures) get this many."""
    log: int = 4
    """Parts for images that the victim was asked, if there is a query log."""
    natural: int = 3
    """Parts for images of the victim's task."""
    statistic: str = field(default="cosine", metadata=LATER)
    """What candidates are ranked by: the cosine of what a suspect and a candidate have
    apart from all others."""
    defence: Defence = field(default="none", metadata=LATER)
    """What your service does to the victim's answers before it shows them, if it defends itself: then
    suspects are compared with these answers too."""
    defence_budget: float = field(default=1.0, metadata=LATER)
    """mad and mad-argmax: how far an answer is moved at most, the sum of the changes of its probabilities."""

    def __post_init__(self) -> None:
        check(0 < self.level < 0.5, self, "level", "a number in (0, 0.5)")
        check(1 <= self.control_questions <= 10_000, self, "control_questions", "1 to 10,000")
        rising = len(self.looks) > 0 and self.looks[0] >= 1 and list(self.looks) == sorted(set(self.looks))
        check(
            rising and self.looks[-1] <= 100_000,
            self,
            "looks",
            "numbers of questions, ascending, 100,000 at most",
        )
        check(25 <= self.pool <= 1_000_000, self, "pool", "25 to 1,000,000")
        for name in ("foreign", "log"):
            check(0 <= getattr(self, name) <= 100, self, name, "0 to 100 parts")
        check(1 <= self.natural <= 100, self, "natural", "1 to 100 parts")
        check(self.defence in DEFENCES, self, "defence", ", ".join(DEFENCES))
        check(0 < self.defence_budget <= 2, self, "defence_budget", "a number in (0, 2]")
        bounded = self.defence in ("mad", "mad-argmax")
        only = "1: only the defences mad and mad-argmax have a budget"
        check(bounded or self.defence_budget == 1, self, "defence_budget", only)
