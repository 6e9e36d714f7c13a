"""A suspect behind a prediction API: asked in batches by several threads, as fast as it allows, with every
answer in a ledger.

This file has what does not depend on the protocol: batches, ledger, budget, rate limit, retries. A transport
sends the questions.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch
from torch import Tensor

from zooaudit.errors import AnswersError, InputError, StoppedError, SuspectError
from zooaudit.suspects.asking import LOADING_DOUBLINGS, Asking, Item, Tries, silent
from zooaudit.suspects.batches import Sizes
from zooaudit.suspects.blackbox import Reading, to_probabilities
from zooaudit.suspects.deadlines import Halted, heeding
from zooaudit.suspects.ledger import LOST, REFUSED, Ledger, name_of
from zooaudit.suspects.naming import Form
from zooaudit.suspects.outage import OutageReports, Troubled, untroubled
from zooaudit.suspects.rate_limit import RateLimit
from zooaudit.suspects.remote import Remote
from zooaudit.suspects.transport import Message, Refusal, Takes, Transport


class ApiBlackBox:
    """Args: remote: the suspect's address and settings. ledger: the suspect's; answers in it are not asked
    for again. transport: sends the questions; its creator closes it. described: whether the interface was
    described, so that its values are taken as they are. rate_limit: by ``remote.rate`` unless given.
    cancelled: called before every request; true stops. abandoned: whether a stop also drops requests in
    flight, which may have been paid for; by default they are waited for. say: called with what is found out
    about the suspect and with waits, one line each. troubled: called when the suspect does not answer while
    it is retried, and with None once it does.
    """

    def __init__(
        self,
        remote: Remote,
        ledger: Ledger,
        transport: Transport,
        described: bool = False,
        rate_limit: RateLimit | None = None,
        cancelled: Halted = lambda: False,
        abandoned: Halted | None = None,
        say: Callable[[str], None] = silent,
        troubled: Troubled = untroubled,
    ) -> None:
        self._remote, self._ledger, self._transport, self._described = remote, ledger, transport, described
        self._cancelled, self._abandoned, self._say = cancelled, abandoned or cancelled, say
        self._rate_limit = rate_limit or RateLimit(remote.rate)
        self._reports = OutageReports(remote.shown, say, troubled, remote.timeout_s)
        self._naming = remote.naming
        self._takes: Takes | None = None
        self._sizes = Sizes(remote.batch, remote.largest_request)
        self._queries = 0
        self._came: list[float | None] = []

    @property
    def queries(self) -> int:
        return self._queries

    @property
    def came(self) -> tuple[float | None, float | None]:
        """When the first and the last of all answers came, seconds since 1970, including earlier runs; None
        if there are none, or one of their times is unknown."""
        return (self._came[0], self._came[-1]) if self._came else (None, None)

    @property
    def batch(self) -> int:
        """Images in a request, as far as known."""
        return self._sizes.now

    def ask(self, images: Tensor) -> Tensor:
        """Answer float images ``[n, c, h, w]`` in [0, 1] with probabilities float32
        ``[n, K]`` in the kit's order of classes.

        Raises:
            SuspectError: it refuses, does not answer, or the budget is spent; its answers so far are in the
                ledger.
            AnswersError: it answers something else.
            ConfigError: it cannot be asked as described; nothing was charged.
        """
        names = [name_of(image) for image in images]
        known = self._ledger.known(names)
        missing = list({n: i for i, n in enumerate(names) if n not in known}.items())
        if missing:
            with self._reports.watching():
                self._ask_all(Asking(images, deque(missing), self._cancelled, self._abandoned))
            known = self._ledger.known(names)
        self._queries += len(images)
        times = self._ledger.came(names)
        self._came = _ends([*self._came, *times])
        return self._read([known[n] for n in names])

    def _read(self, rows: Sequence[tuple[Tensor, Form]]) -> Tensor:
        forms = {form for _, form in rows}
        if len(forms) > 1:
            raise AnswersError.of(f"answers of the forms {', '.join(sorted(forms))}", "all of one form")
        reading: Reading = "guess" if forms == {"list"} and not self._described else "stated"
        return to_probabilities(
            torch.stack([r for r, _ in rows]),
            len(rows),
            len(self._naming.classes),
            self._remote.shown,
            reading,
        )

    def _ask_all(self, asking: Asking) -> None:
        """Ask all remaining questions: the first batch alone, so that a wrong setting is paid for only once,
        then several at a time. A failure stops those that have not been sent."""
        self._learn(tuple(asking.images.shape[1:]), asking.halted)
        before = len(asking.left)
        while len(asking.left) == before:
            self._ask_batch(asking)
        with ThreadPoolExecutor(self._remote.concurrency) as pool:
            try:
                wait(
                    [
                        pool.submit(self._work, asking)
                        for _ in range(min(self._remote.concurrency, len(asking.left)))
                    ]
                )
            except BaseException:
                asking.stop.set()
                asking.interrupted.set()
                raise
        if asking.trouble:
            raise asking.trouble[0]

    def _work(self, asking: Asking) -> None:
        try:
            while asking.left and not asking.stop.is_set():
                self._ask_batch(asking)
        except BaseException as error:
            asking.fail(error)
            raise

    def _learn(self, shape: tuple[int, ...], halted: Halted) -> None:
        """Read the suspect's metadata, before the first question."""
        if self._takes is not None:
            return
        c, h, w = shape
        tries = Tries(self._remote, self._say)
        with heeding(halted):
            while True:
                with self._reports.out(0):  # the ledger numbers requests from 1
                    result = self._transport.learn((c, h, w))
                if not isinstance(result, Refusal):
                    break
                self._pause(tries, result)
                self._take_turn(0, halted)
        if result.columns:
            # Refuses another number of classes before anything is charged.
            self._naming.rows([[0.0] * result.columns])
        if result.exact:
            self._sizes = Sizes(result.exact, self._remote.largest_request)
        elif result.most:
            self._sizes.at_most(result.most)
        if result.notes:
            self._say(f"{self._remote.shown} describes how to ask it: {'; '.join(result.notes)}")
        if self._ledger.saw(result.seen):
            self._say(
                f"{self._remote.shown} describes itself differently than when it was first asked; both"
                " descriptions are kept with its answers"
            )
        self._takes = result

    def _ask_batch(self, asking: Asking) -> None:
        """Take some of the remaining questions and get answers, or return those that are too many for a
        request."""
        batch = asking.take(self._sizes.now)
        if not batch:
            return None
        batch, asked, message = self._packed(asking, batch)
        tries: Tries | None = None
        while True:
            self._take_turn(asked, asking.halted)
            tries = tries or Tries(self._remote, self._say)
            with heeding(asking.abandoned):
                refusal = self._send(batch, asked, message)
            if refusal is None:
                return None
            if refusal.most:
                return self._smaller(asking, batch, refusal)
            self._pause(tries, refusal)

    def _packed(self, asking: Asking, batch: list[Item]) -> tuple[list[Item], int, Message]:
        """A request within the size limit, its questions, and how many images it has. If the suspect takes a
        fixed number, the last image fills the request up."""
        exact = self._takes.exact if self._takes else 0
        if exact:
            places = [i for _, i in batch]
            places += [places[-1]] * (exact - len(places))
            return batch, exact, self._transport.message(asking.images[places])
        while True:
            sample = self._sizes.guessed(len(batch))
            message = self._transport.message(asking.images[[i for _, i in batch[:sample]]])
            fits = self._sizes.within(sample, len(message.body), len(batch))
            if sample == fits == len(batch):
                return batch, len(batch), message
            if fits < len(batch):
                asking.back(batch[fits:])
                batch = batch[:fits]
                if self._sizes.at_most(fits):
                    self._say(
                        f"{self._remote.shown} is asked {fits} images a request, for at most"
                        f" {self._remote.largest_request:,} bytes"
                    )

    def _send(self, batch: list[Item], asked: int, message: Message) -> Refusal | None:
        """One attempt, charged before it is sent."""
        number = self._ledger.charge(asked)
        try:
            with self._reports.out(number):
                outcome = self._transport.send(message, asked)
            if not isinstance(outcome, Refusal):
                self._reports.answered()
                rows, form = self._naming.rows(outcome)
                self._ledger.answered(number, [n for n, _ in batch], rows[: len(batch)], form)
                return None
        except (
            InputError,
            SuspectError,
        ) as error:  # it answered something else, or never will answer
            self._ledger.not_answered(
                number, LOST if isinstance(error, AnswersError | StoppedError) else REFUSED
            )
            raise
        self._ledger.not_answered(number, outcome.outcome)
        return outcome

    def _smaller(self, asking: Asking, batch: list[Item], refusal: Refusal) -> None:
        if len(batch) == 1:
            raise SuspectError(
                f"{self._remote.shown} {refusal.reason}; a request of one image is too much for it already"
            )
        asking.back(batch)
        if self._sizes.at_most(min(refusal.most, len(batch) - 1)):
            self._say(
                f"{self._remote.shown} {refusal.reason}; it is asked {self._sizes.now} images a request from"
                " here on"
            )

    def _pause(self, tries: Tries, refusal: Refusal) -> None:
        """Make all threads wait before the next attempt."""
        wait_s = tries.wait_after(refusal)
        waited_s = self._rate_limit.back_off(
            min(tries.failures, LOADING_DOUBLINGS) if refusal.loading else tries.failures, wait_s
        )
        self._reports.failed(tries.trouble(refusal, waited_s), known=refusal.loading)

    def _take_turn(self, images: int, halted: Halted) -> None:
        """Wait until this many images may be asked."""
        if not self._rate_limit.take(images, halted):
            raise StoppedError("the audit was stopped; answers so far are kept")


def _ends(times: Sequence[float | None]) -> list[float | None]:
    """The first and the last; both None if any time is unknown."""
    known = [t for t in times if t is not None]
    if not times:
        return []
    return [None] if len(known) < len(times) else [min(known), max(known)]
