"""Copies between stores: whole, resumed, checked, and never over anything."""

import hashlib
import threading
import time
from pathlib import Path

import pytest

from tests.support.copies import Capture, contents, filled
from tests.support.farms import Untouched, quiet
from tests.support.finished import MODELS, Finished
from tests.support.zoos import TINY
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit
from zooaudit.auditing.results import Audit
from zooaudit.cli.main import main
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import DamagedArtifactError, MissingArtifactError, StoreError
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.copying import Copied, copy, everything
from zooaudit.storage.memory import MemoryStore
from zooaudit.storage.opening import open_store
from zooaudit.storage.parallel import MOST_IN_PARALLEL, in_parallel
from zooaudit.storage.runs import artifacts_of_run, begin_run, save_report
from zooaudit.training.farm import SerialFarm


@pytest.fixture
def source() -> Artifacts:
    return filled(open_store("memory:"))


def test_everything_is_copied_to_the_bit_into_any_store(source: Artifacts, artifacts: Artifacts) -> None:
    seen: list[Copied] = []
    done = copy(source, artifacts, everything(source), seen.append)
    assert contents(artifacts) == contents(source)
    assert list(artifacts.check()) == []
    assert [s.done for s in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1] == done
    assert (done.total, done.there) == (6, 0)
    assert done.bytes == sum(len(c) for k, c in contents(source).items() if k != "zooaudit.json")


def test_from_any_store(artifacts: Artifacts) -> None:
    source, target = filled(artifacts), open_store("memory:")
    copy(source, target, everything(source), quiet)
    assert contents(target) == contents(source)


def test_what_is_there_is_skipped(source: Artifacts) -> None:
    target = open_store("memory:")
    first = copy(source, target, [("thing", "n0"), ("thing", "n3")], quiet)
    assert (first.done, first.there) == (2, 0)
    rest = copy(source, target, everything(source), quiet)
    assert (rest.done, rest.there) == (6, 2)
    again = copy(source, target, everything(source), quiet)
    assert (again.there, again.bytes) == (6, 0)
    assert contents(target) == contents(source)


def test_lost_content_under_a_manifest_is_copied_again(source: Artifacts) -> None:
    target = open_store("memory:")
    copy(source, target, everything(source), quiet)
    target._store.delete(next(iter(target._store.keys("objects/"))))
    assert copy(source, target, everything(source), quiet).there < 6
    assert contents(target) == contents(source)


def test_another_artifact_of_that_name_stops_the_copy_before_it_begins(source: Artifacts) -> None:
    target = open_store("memory:")
    target.save("thing", "n4", {"own.bin": b"mine"}, {"n": 4})
    before = contents(target)
    with pytest.raises(
        StoreError, match=r"thing n4 is in memory: already with other content .* nothing was overwritten"
    ):
        copy(source, target, everything(source), quiet)
    assert contents(target) == before


def test_one_that_another_copy_wrote_meanwhile_is_not_overwritten(source: Artifacts) -> None:
    theirs = open_store("memory:")
    theirs.save("thing", "n4", {"own.bin": b"theirs"}, {"n": 4})

    class Late(MemoryStore):
        """Another job's artifact appears as ours is about to be named."""

        def create(self, key: str, content: bytes) -> bool:
            if key == "manifests/thing/n4.json":
                super().create(key, theirs.load("thing", "n4").manifest)
            return super().create(key, content)

    target = Artifacts(Late())
    with pytest.raises(StoreError, match="thing n4 is in memory: already with other content"):
        copy(source, target, everything(source), quiet)
    assert target.load("thing", "n4").digest == theirs.load("thing", "n4").digest


@pytest.mark.parametrize("damage", [b"\x00\x02" * 499, None])
def test_damage_at_the_source_is_named_and_not_copied(damage: bytes | None, source: Artifacts) -> None:
    sha = hashlib.sha256(b"\x00\x02" * 500).hexdigest()
    key = f"objects/{sha[:2]}/{sha}"
    source._store.delete(key)
    if damage:
        source._store.create(key, damage)
    target = open_store("memory:")
    with pytest.raises(DamagedArtifactError, match=r"thing n2: own\.bin"):
        copy(source, target, everything(source), quiet)
    assert not target.has("thing", "n2") and not target._store.exists(key)
    assert not target.has("report", "done"), "the report is to come last"
    assert list(target.check()) == []


def test_content_comes_first_then_the_manifest_and_reports_last(source: Artifacts) -> None:
    written: list[str] = []

    class Noting(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            written.append(key)
            return super().create(key, content)

    copy(source, Artifacts(Noting()), everything(source), quiet)
    assert written[-1] == "manifests/report/done.json"
    for i in range(5):
        manifest = written.index(f"manifests/thing/n{i}.json")
        sha = source.load("thing", f"n{i}").files["own.bin"]["sha256"]
        assert written.index(f"objects/{sha[:2]}/{sha}") < manifest


# A run


@pytest.fixture(scope="module")
def audited(finished: Finished, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two finished runs of other recipes, and one that was cut off."""
    folder = tmp_path_factory.mktemp("audited")
    whole, artifacts = open_store(str(finished.store)), open_store(str(folder / "store"))
    copy(whole, artifacts, [n for n in everything(whole) if n[0] not in ("run", "report")], quiet)
    for name, recipe in (("first", DIGITS), ("second", TINY)):
        audit(artifacts, name, recipe, digits, folder)
    begin_run(artifacts, "cut-off", DIGITS, digits.digest, None)
    return folder


def audit(artifacts: Artifacts, name: str, recipe: Recipe, digits: Dataset, folder: Path) -> Audit:
    begin_run(artifacts, name, recipe, digits.digest, None)
    done = run_audit(Context(recipe, digits, artifacts, SerialFarm(), quiet))
    (folder / name).mkdir()
    (folder / name / "report.html").write_text(f"<p>{name}")
    save_report(artifacts, name, folder / name)
    return done


def test_a_run_is_copied_with_all_it_needs_and_nothing_else(
    audited: Path, digits: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    arguments = [
        "store",
        "copy",
        "--store",
        str(audited / "store"),
        "--to",
        str(tmp_path / "to"),
        "--run",
        "first",
    ]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"run first is in {tmp_path / 'to'}: ") and "copied" in out and out.count("\n") == 1
    there = open_store(str(tmp_path / "to"))
    count = sum(len(there.ids(kind)) for kind in there.kinds())
    assert f"copy {count}/{count} artifacts" in err and "KiB" in err.replace("MiB", "KiB")
    copied, source = open_store(str(tmp_path / "to")), open_store(str(audited / "store"))
    assert copied.kinds() == {
        "answers": 197,
        "encoder": 2,
        "kit": 1,
        "model": MODELS,
        "points": 1,
        "report": 1,
        "run": 1,
        "uap": 1,
    }
    assert copied.ids("run") == copied.ids("report") == ["first"]
    before = contents(copied)
    again = run_audit(Context(DIGITS, digits, copied, Untouched(), quiet))
    assert again.zoo.trained == 0
    assert contents(copied) == before, "a step had to be made again"
    assert again.kit_id in source.ids("kit")
    assert main(arguments) == 0
    assert f"0 copied (0 bytes), {count} were there" in capsys.readouterr().out


def test_both_runs_together_are_the_whole_store(audited: Path, tmp_path: Path) -> None:
    source, target = open_store(str(audited / "store")), open_store(str(tmp_path / "to"))
    for run in ("first", "second"):
        copy(source, target, artifacts_of_run(source, run), quiet)
    assert set(everything(source)) - set(everything(target)) == {("run", "cut-off")}


def test_what_a_run_used_does_not_depend_on_what_its_store_held(
    finished: Finished, digits: Dataset, tmp_path: Path
) -> None:
    """A run repeated on a store that holds all of it notes the same names."""
    first = open_store(str(finished.store))
    again = open_store("memory:")
    copy(first, again, [n for n in everything(first) if n[0] not in ("run", "report")], quiet)
    audit(again, "digits", DIGITS, digits, tmp_path)
    assert artifacts_of_run(again, "digits") == artifacts_of_run(first, "digits")


BAD = {
    "no target": ([], 2, "store copy needs --to"),
    "the same store": (["--to", "{store}"], 2, "a copy goes to another store"),
    "unknown run": (
        ["--to", "{to}", "--run", "nobody"],
        2,
        "run nobody is unknown; finished runs in {store}: first, second",
    ),
    "unfinished run": (["--to", "{to}", "--run", "cut-off"], 2, "run cut-off has not finished"),
    "no such kind of store": (["--to", "ftp://x"], 3, "ftp://x"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, audited: Path, tmp_path: Path, capsys: Capture) -> None:
    places = {"store": str(audited / "store"), "to": str(tmp_path / "to")}
    arguments, code, message = BAD[name]
    assert (
        main(["store", "copy", "--store", places["store"], *(a.format(**places) for a in arguments)]) == code
    )
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert message.format(**places) in err
    assert not (tmp_path / "to").exists() or not list((tmp_path / "to").iterdir())


def test_an_empty_store_has_nothing_to_copy(tmp_path: Path, capsys: Capture) -> None:
    assert main(["store", "copy", "--store", str(tmp_path / "empty"), "--to", str(tmp_path / "to")]) == 3
    assert "there is no store at" in capsys.readouterr().err


def test_a_run_without_a_list_is_said_to_have_none() -> None:
    artifacts = open_store("memory:")
    artifacts.save("report", "old", {}, {"run": "old"})
    with pytest.raises(
        MissingArtifactError, match="does not say which artifacts it used; copy the whole store"
    ):
        artifacts_of_run(artifacts, "old")


# Many at once


def test_results_keep_the_order_and_threads_are_bounded() -> None:
    now, most, lock = [0], [0], threading.Lock()

    def work(i: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01 * (i % 3))
        with lock:
            now[0] -= 1
        return i * i

    assert in_parallel(work, range(40)) == [i * i for i in range(40)]
    assert 1 < most[0] <= MOST_IN_PARALLEL


def test_the_first_error_is_raised_and_the_rest_not_begun() -> None:
    begun: list[int] = []

    def work(i: int) -> None:
        begun.append(i)
        time.sleep(0.01)
        if i >= 3:
            raise StoreError(f"number {i}")

    with pytest.raises(StoreError, match="number 3"):
        in_parallel(work, range(500))
    assert len(begun) < 100
