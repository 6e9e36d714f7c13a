"""The service's parts without a server: settings, and kits held in memory."""

import hashlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.kits import K, make_kit
from tests.support.makers import make_twin_test, near, peer
from zooaudit.errors import ConfigError, DamagedArtifactError, InputError, MissingArtifactError, StoreError
from zooaudit.kits.kit import save_kit
from zooaudit.serving import settings as names
from zooaudit.serving.kits import AWAY_S, Kits
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.comparisons import MOST_READINGS
from zooaudit.verdict.examined import Candidate, Reference
from zooaudit.verdict.twin_test import TwinTest

KEY = "a-key-of-a-test"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
MUCH = 2**30


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        names.KEYS,
        names.KEYS_FILE,
        names.OPEN,
        names.QUERIES,
        names.BODY_MIB,
        names.KITS_MIB,
        names.DATA,
        names.SUSPECTS,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(names.STORE, "somewhere")
    return monkeypatch


def test_settings_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(names.KEYS, f" {DIGEST.upper()}, {'0' * 64},")
    found = Settings.from_environment()
    assert found == Settings(str(Path("somewhere").absolute()), (DIGEST, "0" * 64))
    assert DIGEST not in repr(found)
    environment.setenv(names.STORE, "s3://bucket/prefix")
    environment.setenv(names.QUERIES, "1")
    environment.setenv(names.BODY_MIB, "0.5")
    environment.setenv(names.KITS_MIB, "3")
    environment.setenv(names.KEYS_FILE, "keys.toml")
    environment.setenv(names.DATA, "data")
    environment.setenv(names.SUSPECTS, " Models.example:8080, 10.0.0.7 ,")
    here = Path.cwd()
    assert Settings.from_environment() == Settings(
        "s3://bucket/prefix",
        (DIGEST, "0" * 64),
        here / "keys.toml",
        True,
        2**19,
        3 * 2**20,
        data=here / "data",
        suspects=("models.example:8080", "10.0.0.7"),
    )


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({}, ConfigError, "found neither"),
        ({names.OPEN: "yes"}, ConfigError, "found neither"),
        ({names.OPEN: "1", names.KEYS: DIGEST}, ConfigError, "found both"),
        (
            {names.KEYS: f"{DIGEST},{KEY}"},
            ConfigError,
            f"entry 2 has {len(KEY)} characters; expected the 64 hex digits",
        ),
        ({names.OPEN: "1", names.KEYS_FILE: "keys.toml"}, ConfigError, "found both"),
        ({names.OPEN: "1", names.SUSPECTS: "a.example"}, ConfigError, f"{names.DATA} is not set"),
        ({names.OPEN: "1", names.STORE: ""}, ConfigError, names.STORE),
        ({names.OPEN: "1", names.STORE: "memory:"}, ConfigError, names.STORE),
        ({names.OPEN: "1", names.BODY_MIB: "much"}, InputError, names.BODY_MIB),
        ({names.OPEN: "1", names.KITS_MIB: "-1"}, InputError, names.KITS_MIB),
    ],
)
def test_settings_that_stop_the_start(
    change: dict[str, str], error: type[Exception], says: str, environment: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        environment.setenv(name, value)
    with pytest.raises(error, match=says) as caught:
        Settings.from_environment()
    assert KEY not in str(caught.value)


def test_a_few_kits_are_held_and_the_least_recently_used_goes(tmp_path: Path) -> None:
    store = tmp_path / "store"
    ids = [save_kit(open_store(str(store)), replace(make_kit(), seed=seed)).id for seed in range(3)]
    alone = Kits(str(store), MUCH)
    alone.get(ids[0])
    one = alone.used_bytes
    assert one > sum(f["bytes"] for f in open_store(str(store)).load("kit", ids[0]).files.values()), (
        "what is made ready counts too"
    )
    kits = Kits(str(store), int(2.5 * one))
    assert [s.id for s in kits.summaries(kits.ids())] == sorted(ids)
    for id_ in (ids[0], ids[1], ids[0], ids[2]):
        assert kits.get(id_)[1].seed == ids.index(id_)
    store.rename(tmp_path / "away")
    assert kits.get(ids[0])[0].id == ids[0]
    assert kits.get(ids[2])[1].seed == 2
    for ask in (lambda: kits.get(ids[1]), kits.ids, kits.there):
        with pytest.raises(StoreError, match=r"it has gone") as caught:
            ask()
        assert not isinstance(caught.value, MissingArtifactError)
    (tmp_path / "away").rename(store)
    time.sleep(AWAY_S)  # a store that did not answer is not asked again by each caller
    assert kits.get(ids[1])[1].seed == 1


def test_what_is_no_kit_is_missing_and_what_is_damaged_says_so(tmp_path: Path) -> None:
    artifact = save_kit(open_store(str(tmp_path)), make_kit())
    kits = Kits(str(tmp_path), MUCH)
    for id_ in ("", "..", "a/b", artifact.id[:8], "0" * 16, "x" * 1000):
        with pytest.raises(MissingArtifactError):
            kits.get(id_)
    for path in (tmp_path / "objects").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damage")
    with pytest.raises(DamagedArtifactError):
        kits.get(artifact.id)


def test_a_damaged_kit_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged, sound = (
        save_kit(open_store(str(tmp_path)), replace(make_kit(), seed=seed)).id for seed in range(2)
    )
    (tmp_path / "manifests" / "kit" / f"{damaged}.json").write_text("{")
    kits = Kits(str(tmp_path), MUCH)
    assert [s.id for s in kits.summaries(kits.ids())] == [sound]
    assert damaged in caplog.text


def test_only_one_caller_at_a_time_asks_a_store_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others hear its last word at once, or they would take every place there is."""
    kits, hangs, entered = Kits(str(tmp_path), MUCH), threading.Event(), threading.Event()

    def there() -> None:
        entered.set()
        hangs.wait(30)

    monkeypatch.setattr(kits, "there", there)
    first = threading.Thread(target=kits.ready)
    first.start()
    assert entered.wait(30)
    with pytest.raises(StoreError, match="not been asked yet"):
        kits.ready()
    hangs.set()
    first.join(30)
    kits.ready()


def test_a_kit_larger_than_all_that_may_be_held_is_held_alone(tmp_path: Path) -> None:
    ids = [save_kit(open_store(str(tmp_path)), replace(make_kit(), seed=seed)).id for seed in range(2)]
    kits = Kits(str(tmp_path), 1)
    assert kits.get(ids[0])[1] is kits.get(ids[0])[1] is not kits.get(ids[1])[1]
    assert len(kits._held) == 1


def test_a_kit_of_another_version_is_damage_not_a_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = open_store(str(tmp_path))
    old = artifacts.save(
        "kit", "0" * 16, {"kit.safetensors": b""}, {"victim": "v", "encoder": {"name": "paper"}}
    )
    with pytest.raises(DamagedArtifactError, match="lacks what kits of this version state"):
        Kits(str(tmp_path), MUCH).get(old.id)
    kits = Kits(str(tmp_path), MUCH)
    assert kits.summaries(kits.ids()) == [] and old.id in caplog.text


def test_a_kit_that_accuses_nobody_says_so_and_still_serves_the_papers_test(tmp_path: Path) -> None:
    kit, store = make_kit(), open_store(str(tmp_path))
    same = replace(
        kit,
        twin_test=replace(kit.twin_test, answers=kit.twin_test.answers[:1].expand(20, -1, -1).contiguous()),
    )
    data = {}
    for made, says in (
        (replace(kit, twin_test=make_twin_test(twins=0)), "the kit has no twins"),
        (replace(kit, twin_test=make_twin_test(twins=9)), "9 twins allow no p under 0.1"),
        (same, "the training code ignores its seed"),
        (kit, ""),
    ):
        data[save_kit(store, made).id] = says
    kits = Kits(str(tmp_path), MUCH)
    for summary in kits.summaries(kits.ids()):
        assert says_it(summary.accuses_nobody, data[summary.id])
    for id_, says in data.items():
        summary, found = kits.get(id_)
        assert says_it(summary.accuses_nobody, says) and found.references.shape == kit.references.shape


def says_it(found: str, expected: str) -> bool:
    return expected in found if expected else not found


def test_a_kit_is_made_ready_for_probabilities_and_labels_before_it_is_asked(tmp_path: Path) -> None:
    id_ = save_kit(open_store(str(tmp_path)), make_kit()).id
    test = Kits(str(tmp_path), MUCH).get(id_)[1].twin_test
    ready = test.kept_bytes
    answers = TorchBlackBox(near(0, 70), K).ask(test.questions())
    for given in (answers, Access("label").reduced(answers)):
        assert test.judge(given).verdict.decision == "stolen"
    assert test.kept_bytes == ready > 0, "no suspect waits for what all of them are compared with"
    test.judge(answers, access=Access("rounded", 1))
    assert test.kept_bytes > ready


def test_a_kit_that_is_read_in_many_ways_forgets_the_oldest_of_them() -> None:
    test = make_twin_test(references=4)
    answers = TorchBlackBox(near(0, 70), K).ask(test.questions())
    ways = [Access("rounded", d) for d in range(1, 8)]
    sizes = []
    for access in ways:
        test.judge(answers, access=access)
        sizes.append(test.kept_bytes)
    assert len(ways) > MOST_READINGS and sizes[0] < sizes[MOST_READINGS - 1] == max(sizes), (
        "a caller who names them all takes no more memory than a few need"
    )


def test_one_kit_judges_for_many_threads_as_for_one() -> None:
    """Each of them asks in ways of its own, so that what is kept for one is made, used and
    forgotten while others judge."""
    expected, shared = (make_twin_test(references=4) for _ in range(2))
    answers = [TorchBlackBox(m, K).ask(shared.questions()) for m in (near(0, 70), peer(2001))]
    ways = [None, Access("label"), *(Access("top", k) for k in (1, 2, 3)), Access("rounded", 1)]
    jobs = [(given, way) for _ in range(4) for way in ways for given in answers]
    assert len(ways) > MOST_READINGS
    alone = [expected.judge(given, access=way).verdict for given, way in jobs]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda job: shared.judge(job[0], access=job[1]).verdict, jobs))
    finally:
        sys.setswitchinterval(switch)
    assert together == alone


def test_a_warm_kit_judges_in_milliseconds() -> None:
    """As large as a real one: 1,000 questions of ten classes, 20 candidates, 16 references."""
    dice = torch.Generator().manual_seed(0)
    task = 3 * torch.randn(1000, 10, generator=dice)
    candidates, references = ((task + torch.randn(n, 1000, 10, generator=dice)).softmax(-1) for n in (20, 16))
    test = TwinTest(
        torch.zeros(1000, 1, 4, 4, dtype=torch.uint8),
        task.argmax(1),
        ("natural",) * 1000,
        100,
        (250, 500, 1000),
        0.05,
        tuple(Candidate(str(i), 0.9) for i in range(20)),
        candidates,
        tuple(Reference(str(i), "trained") for i in range(16)),
        references,
    )
    test.prepare(Access())
    taken = []
    for _ in range(30):
        started = time.thread_time()
        test.judge(candidates[0])
        taken.append(time.thread_time() - started)
    assert sorted(taken)[len(taken) // 4] < 0.03, "some 8 ms of a core"
