"""The order of the work, and the queue that hands it out to workers that may die."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from zooaudit.training.queue_actor import RESTARTS, QueueActor
from zooaudit.training.work_queue import Task, WorkQueue

PARENTS = st.lists(st.none() | st.integers(0, 30), min_size=1, max_size=14)
"""For each task, None or which earlier task it waits for."""


def tasks_of(parents: list[int | None]) -> list[Task]:
    return [Task(f"m{i}", f"m{p % i}" if p is not None and i else None) for i, p in enumerate(parents)]


@settings(max_examples=150)
@given(PARENTS, st.integers(1, 5), st.randoms(use_true_random=False), st.data())
def test_every_task_is_finished_once_whatever_dies(
    parents: list[int | None], workers: int, random: object, data: st.DataObject
) -> None:
    tasks = tasks_of(parents)
    order = data.draw(st.permutations(tasks))
    queue = WorkQueue(order, set())
    parent = {t.id: t.parent for t in tasks}
    at: dict[int, str | None] = dict.fromkeys(range(workers))
    finished: list[str] = []
    for worker in at:
        queue.join(worker, workers)
    deaths = 0
    while len(finished) < len(tasks):
        worker = random.randrange(workers)  # type: ignore[attr-defined]
        if at[worker] is None:
            drawn = queue.draw(worker)
            if drawn is None:
                assert any(at.values()), "work is left, nobody holds any, and none is handed out"
                continue
            assert parent[drawn.id] is None or parent[drawn.id] in finished, (
                "drawn before its parent was ready"
            )
            assert drawn.id not in finished
            assert drawn.id not in at.values(), "handed to two workers"
            at[worker] = drawn.id
        elif random.random() < 0.3 and deaths < 20:  # type: ignore[attr-defined]
            queue.join(worker, workers)  # it died and comes back
            at[worker], deaths = None, deaths + 1
        else:
            queue.finish(worker, at[worker] or "")
            finished.append(at[worker] or "")
            at[worker] = None
        assert set(queue.claimed) == {a for a in at.values() if a}
    assert sorted(finished) == sorted(t.id for t in tasks)
    assert queue.empty
    assert queue.claimed == ()
    assert all(queue.draw(w) is None for w in at)


@given(PARENTS, st.data())
def test_the_first_that_is_ready_is_drawn(parents: list[int | None], data: st.DataObject) -> None:
    tasks = tasks_of(parents)
    ready = set(data.draw(st.lists(st.sampled_from([t.id for t in tasks]), unique=True)))
    left = [t for t in tasks if t.id not in ready]
    queue = WorkQueue(left, ready)
    expected = [t for t in left if t.parent is None or t.parent in ready]
    assert [queue.draw(i) for i in range(len(expected))] == expected
    assert queue.draw(99) is None
    assert queue.empty == (len(expected) == len(left))


def test_what_a_dead_worker_held_comes_first() -> None:
    queue = WorkQueue([Task("a", None), Task("b", None), Task("c", None)], set())
    assert (queue.draw(0), queue.draw(1)) == (Task("a", None), Task("b", None))
    queue.join(1, 3)
    assert queue.draw(2) == Task("b", None)


def test_what_was_in_hand_when_a_worker_died_comes_last_and_alone() -> None:
    queue = WorkQueue([Task(i, None) for i in "abcd"], set())
    for worker in range(2):
        queue.join(worker, 2)
    assert [(queue.draw(w) or Task("", None)).id for w in range(2)] == ["a", "b"]
    for worker in range(2):
        queue.join(worker, 2)
    assert [(queue.draw(w) or Task("", None)).id for w in range(2)] == ["c", "d"]
    queue.finish(0, "c")
    assert queue.draw(0) is None, "what is suspected is not trained beside others"
    queue.finish(1, "d")
    assert queue.draw(0) == Task("a", None) and queue.draw(1) is None
    assert not queue.deadly("a")
    queue.join(0, 2)
    queue.join(1, 2)
    assert queue.deadly("a") == 2 and not queue.deadly("b")
    assert queue.draw(1) == Task("b", None), "it had its turn; the other one is still to have it"
    queue.finish(1, "b")
    assert queue.draw(1) == Task("a", None)


def test_a_group_that_grows_or_shrinks_makes_nobody_suspected() -> None:
    queue = WorkQueue([Task("a", None), Task("b", None)], set())
    for workers in (1, 2, 1, 3, 1):
        queue.join(0, workers)
        assert queue.draw(0) == Task("a", None) and not queue.deadly("a")


@given(st.permutations(range(2)), st.permutations(range(2)))
def test_a_lost_machine_that_was_replaced_makes_nobody_suspected(first: list[int], then: list[int]) -> None:
    """Whichever worker of the new group speaks first: on the machine that stayed, or on the
    new one. Its own deaths count as ever."""
    queue = WorkQueue([Task("a", None), Task("b", None)], set())
    for worker in range(2):
        queue.join(worker, 2, "AB"[worker], "AB")
        assert queue.draw(worker)
    for lost, machines, order in (("A", "CB", first), ("B", "CD", then)):
        said = [queue.join(worker, 2, machines[worker], machines) for worker in order]
        assert any(said), f"{lost} was lost"
        assert {(queue.draw(worker) or Task("", None)).id for worker in range(2)} == {
            "a",
            "b",
        }, "both at once: nothing is suspected"
    for worker in range(2):
        assert not queue.join(worker, 2, "CD"[worker], "CD")
    assert queue.draw(0) and not queue.draw(1), "now a worker died with every machine there"


@settings(max_examples=150)
@given(
    st.integers(1, 9),
    st.integers(1, 20),
    st.sets(st.integers(0, 19), max_size=3),
    st.randoms(use_true_random=False),
)
def test_what_kills_workers_is_found_and_nothing_else(
    workers: int, count: int, poison: set[int], random: Random
) -> None:
    queue = WorkQueue([Task(str(i), None) for i in range(count)], set())
    deadly = {str(i) for i in poison if i < count}
    at: dict[int, str] = {}
    finished, given_up, without_progress = set[str](), set[str](), 0
    for worker in range(workers):
        queue.join(worker, workers)
    while not (queue.empty and not at):
        killers = [i for i in at.values() if i in deadly]
        if killers and random.random() < 0.5:  # Ray ends all of them, and starts as many
            at, without_progress = {}, without_progress + 1
            assert without_progress <= 6, "it takes a few deaths to single out one of up to nine"
            for worker in range(workers):
                queue.join(worker, workers)
            continue
        worker = random.randrange(workers)
        if worker not in at:
            if drawn := queue.draw(worker):
                at[worker] = drawn.id
                if queue.deadly(drawn.id):
                    given_up.add(at.pop(worker))
                    queue.finish(worker, drawn.id)
                    without_progress = 0
        elif at[worker] not in deadly:
            queue.finish(worker, at[worker])
            finished.add(at.pop(worker))
            without_progress = 0
    assert given_up == deadly and finished == {str(i) for i in range(count)} - deadly


def test_workers_that_die_without_end_stop_the_farm() -> None:
    actor = QueueActor([Task(i, None) for i in "abcdefghijkl"], set(), patience=2)
    groups = 0
    while actor.join(0, 2) and actor.join(1, 2):
        groups += 1
        for worker in range(2):
            actor.draw(worker)
    assert groups == RESTARTS + 1 and actor.draw(0).over
    kind, output = actor.error() or ("", "")
    assert kind == "FarmError" and f"workers died {RESTARTS + 1} times in a row" in output
    actor = QueueActor([Task(i, None) for i in "abcdefghijkl"], set(), patience=2)
    for _ in range(10):
        assert actor.join(0, 2) and actor.join(1, 2)
        drawn = [actor.draw(worker).id or "" for worker in range(2)]
        actor.finish(0, drawn[0], failed=False, ours=True)  # one model a group is progress
    actor = QueueActor([Task(i, None) for i in "abcdefghijkl"], set(), patience=2)
    for group in range(30):  # machines come and go
        assert actor.join(0, 2 + group % 2)
    actor = QueueActor([Task(i, None) for i in "abcdefghijkl"], set(), patience=2)
    for group in range(30):  # each time another machine for the one that was lost
        assert all(
            actor.join(worker, 2, f"{worker}-{group}", [f"0-{group}", f"1-{group}"]) for worker in range(2)
        )


def test_what_a_lost_machine_held_is_done_by_the_smaller_group() -> None:
    queue = WorkQueue([Task("a", None), Task("b", None), Task("c", None), Task("d", None)], set())
    for worker in range(3):
        queue.draw(worker)
    queue.join(0, 1)  # two of three are gone for good
    drawn = []
    while task := queue.draw(0):
        drawn.append(task.id)
        queue.finish(0, task.id)
    assert sorted(drawn) == ["a", "b", "c", "d"] and queue.empty


def test_a_worker_that_died_after_its_commit_does_no_harm() -> None:
    queue = WorkQueue([Task("a", None), Task("b", "a")], set())
    queue.draw(0)
    queue.join(0, 2)  # it died between the commit and its word to the queue
    assert queue.draw(1) == Task("a", None)
    queue.finish(1, "a")
    assert queue.draw(0) == Task("b", "a")
    assert queue.draw(1) is None


def test_a_queue_made_anew_takes_word_of_what_it_did_not_hand_out() -> None:
    queue = WorkQueue([Task("a", None), Task("b", "a")], set())
    queue.finish(3, "a")
    assert queue.draw(0) == Task("b", "a")
    assert queue.empty


def test_a_late_word_of_a_worker_thought_dead_leaves_its_heirs_claim() -> None:
    queue = WorkQueue([Task("a", None), Task("b", None)], set())
    queue.join(0, 1)
    assert queue.draw(0) == Task("a", None)
    queue.join(0, 1)  # its node was thought dead; the heir draws the other first, and then the same
    assert queue.draw(0) == Task("b", None)
    queue.finish(0, "b")
    assert queue.draw(0) == Task("a", None)
    queue.finish(0, "b")
    queue.postpone(0, "b")
    assert queue.claimed == ("a",)
    queue.join(0, 1)
    assert queue.draw(0) == Task("a", None), "a model was lost"


def test_postponed_models_come_up_after_all_others_and_are_told() -> None:
    queue = WorkQueue([Task("a", None), Task("b", None)], set())
    assert queue.draw(0) == Task("a", None)
    queue.postpone(0, "a")
    assert queue.elsewhere == ("a",) and not queue.empty
    assert queue.draw(0) == Task("b", None)
    queue.finish(0, "b")
    assert queue.draw(0) == Task("a", None)
    queue.finish(0, "a")
    assert queue.elsewhere == () and queue.empty


def test_workers_go_home_when_only_other_jobs_have_work() -> None:
    actor = QueueActor([Task("a", None), Task("child", "a")], set(), patience=2)
    for _ in range(2):
        assert actor.draw(0).id == "a"
        actor.postpone(0, "a")
    assert actor.draw(0).over
    assert actor.rested(), "the farm must come back for them"
    assert actor.draw(0).id == "a"
    actor.finish(0, "a", failed=False, ours=False)
    assert actor.draw(0).id == "child"
    actor.finish(0, "child", failed=False, ours=True)
    assert actor.draw(0).over and not actor.rested() and actor.built() == 1
