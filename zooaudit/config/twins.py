"""The twin test: level, questions, looks."""

from dataclasses import dataclass, field

from zooaudit.config.basics import DEFENCES, LATER, Defence, check


@dataclass(frozen=True)
class TwinTestConfig:
    """What a suspect is asked, and whom the verdict may accuse (docs/statistics.md)."""

    level: float = 0.05
    """At most this share of innocent suspects is accused; below 1 / (twins + 1) nobody is."""
    control_questions: int = 100
    """Random images of the victim's task, asked first, which show whether a suspect does that task. At most
    a fifth of a small pool."""
    looks: tuple[int, ...] = (250, 500, 1000)
    """Numbers of questions after which the statistic is looked at. The last is the number of questions in
    all, fewer if the pools hold fewer."""
    pool: int = 3000
    """Images of each family that every candidate and reference is asked; the questions are chosen from
    these."""
    foreign: int = 1
    """Parts of the questions that are images of another task, or textures. Families share the questions in
    these proportions."""
    log: int = 4
    """Parts that are images which the victim was asked, if there is a query log."""
    natural: int = 3
    """Parts that are images of the victim's task."""
    statistic: str = field(default="cosine", metadata=LATER)
    """What candidates are ranked by. cosine: the cosine between what sets a suspect and a candidate apart
    from all others."""
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
