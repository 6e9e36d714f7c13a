"""Packs of evidence on their way to somebody else: what ties one to the page that was sent, and what is said
of one that was damaged."""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import Capture, exported, kit_of, verified
from tests.support.reports import Page, words
from zooaudit.cli.main import main
from zooaudit.evidence.packs import Opened, opened
from zooaudit.kits.kit import answers_digest
from zooaudit.storage.models import WEIGHTS
from zooaudit.storage.opening import open_store

CHANGED = "the pack was changed or damaged; ask for it again"
NOT_STATED = " is not what the manifest states"
Change = Callable[[Path], object]


@pytest.fixture
def pack(scored: dict[str, Any], case_store: Path, tmp_path: Path) -> Path:
    return exported(case_store, scored["evidence"], tmp_path / "case.zip")


def repacked(pack: Path, out: Path, change: Change) -> Path:
    """The pack with its store changed by ``change``, a function of the folder."""
    folder = out.with_suffix("")
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(folder)
    change(folder)
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return out


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def content_of(folder: Path, kind: str, name: str) -> Path:
    """Where a file of the only artifact of a kind lies."""
    sha = json.loads(only(folder, f"manifests/{kind}/*.json").read_text())["files"][name]["sha256"]
    return only(folder, f"objects/*/{sha}")


DAMAGE: dict[str, tuple[Change, str]] = {
    "answers": (
        lambda f: flipped(content_of(f, "evidence", "answers.parquet")),
        rf"answers\.parquet{NOT_STATED} \(SHA-256 [0-9a-f]{{64}}\)",
    ),
    "answers cut short": (
        lambda f: content_of(f, "evidence", "answers.parquet").write_bytes(b"PAR1"),
        rf"answers\.parquet{NOT_STATED}",
    ),
    "answers too long": (
        lambda f: content_of(f, "evidence", "answers.parquet").open("ab").write(b"x"),
        rf"answers\.parquet{NOT_STATED}",
    ),
    "tensors": (lambda f: flipped(content_of(f, "kit", "kit.safetensors")), rf"kit\.safetensors{NOT_STATED}"),
    "no answers": (
        lambda f: content_of(f, "evidence", "answers.parquet").unlink(),
        r"answers\.parquet is missing",
    ),
    "manifest": (
        lambda f: flipped(only(f, "manifests/evidence/*.json")),
        r"the manifest of evidence [0-9a-f]+ is damaged \(it ",
    ),
    "empty manifest": (
        lambda f: only(f, "manifests/kit/*.json").write_text(""),
        r"the manifest of kit \w+ is damaged \(it is not JSON",
    ),
    "no kit": (lambda f: only(f, "manifests/kit/*.json").unlink(), r"the kit [0-9a-f]+ is missing"),
    "no evidence": (
        lambda f: only(f, "manifests/evidence/*.json").unlink(),
        "it holds 0 pieces of evidence, not one",
    ),
    "no marker": (lambda f: (f / "zooaudit.json").unlink(), r"zooaudit\.json is missing"),
    "marker": (lambda f: (f / "zooaudit.json").write_text("{"), r"zooaudit\.json cannot be read \("),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_whatever_is_damaged_is_rejected_with_what_its_receiver_can_do(
    name: str, pack: Path, tmp_path: Path, capsys: Capture
) -> None:
    change, says = DAMAGE[name]
    damaged = repacked(pack, tmp_path / "changed.zip", change)
    capsys.readouterr()
    assert main(["evidence", "verify", str(damaged)]) == 6
    out, err = capsys.readouterr()
    assert (
        re.fullmatch(f"REJECTED: {says}.*: {CHANGED}\n", out)
        and err == ""
        and "--repair" not in out
        and "/tmp" not in out
    )
    code, checks, output = verified(capsys, damaged)
    assert (code, checks, output["rejected"], output["suspect"]) == (6, {"contents": False}, True, None)
    assert output["findings"][0]["text"].endswith(CHANGED)


def test_a_byte_that_was_flipped_on_the_way_is_rejected(pack: Path, tmp_path: Path, capsys: Capture) -> None:
    """The ZIP's own checksum finds it before ours do."""
    with zipfile.ZipFile(pack) as archive:
        largest = max(archive.infolist(), key=lambda m: m.compress_size)
    content = bytearray(pack.read_bytes())
    content[largest.header_offset + largest.compress_size // 2] ^= 1
    (tmp_path / "flipped.zip").write_bytes(bytes(content))
    capsys.readouterr()
    assert main(["evidence", "verify", str(tmp_path / "flipped.zip")]) == 6
    assert re.fullmatch(
        rf"REJECTED: a member cannot be unpacked \(.*\): {CHANGED}\n", capsys.readouterr().out
    )


def test_damage_of_the_victims_weights_is_found_without_models(
    scored: dict[str, Any], case_store: Path, tmp_path: Path, capsys: Capture
) -> None:
    pack = exported(case_store, scored["evidence"], tmp_path / "whole.zip", "--with-victim")
    assert verified(capsys, pack)[0] == 0
    damaged = repacked(pack, tmp_path / "changed.zip", lambda f: flipped(content_of(f, "model", WEIGHTS)))
    code, _, output = verified(capsys, damaged)
    assert code == 6 and f"{WEIGHTS} is not what the manifest states" in output["findings"][0]["text"]


def test_a_file_that_was_cut_short_or_is_no_zip_is_bad_input(
    pack: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "cut.zip").write_bytes(pack.read_bytes()[:-3000])
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "nothing.zip").write_bytes(b"")
    for name in ("cut.zip", "text.zip", "nothing.zip"):
        capsys.readouterr()
        assert main(["evidence", "verify", str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        assert (
            "is not a pack (" in err
            and "it is truncated, or not a ZIP: ask for it again" in err
            and out == ""
            and err.count("\n") == 1
        )


def test_what_is_another_zip_is_no_pack(tmp_path: Path, capsys: Capture) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    for name, says in (
        ("other.zip", "neither zooaudit.json nor manifests"),
        ("missing.zip", "does not exist"),
    ):
        assert main(["evidence", "verify", str(tmp_path / name)]) == 2
        assert says in capsys.readouterr().err


def test_a_pack_of_another_version_says_so(pack: Path, tmp_path: Path, capsys: Capture) -> None:
    other = repacked(
        pack, tmp_path / "other.zip", lambda f: (f / "zooaudit.json").write_text('{"format": 9}') and None
    )
    assert main(["evidence", "verify", str(other)]) == 2
    assert (
        "the pack has format 9, of another version of zooaudit; expected format 1" in capsys.readouterr().err
    )


def test_a_page_and_a_pack_are_tied_together(
    scored: dict[str, Any], case_store: Path, pack: Path, tmp_path: Path, capsys: Capture
) -> None:
    capsys.readouterr()
    assert (
        main(
            [
                "explain",
                scored["evidence"],
                "--store",
                str(case_store),
                "--out",
                str(tmp_path / "why.html"),
                "--json",
            ]
        )
        == 0
    )
    explained = json.loads(capsys.readouterr().out)
    _, _, output = verified(capsys, pack)
    named = ("suspect", "evidence", "kit", "kit_sha256", "victim", "answers_sha256", "trial")
    assert {k: output[k] for k in named} == {k: explained[k] for k in named}
    with opened(pack) as store:
        answers = Opened.of(store).answers
    assert (
        output["answers_sha256"]
        == answers_digest(answers)
        == hashlib.sha256(answers.numpy().astype("<f4").tobytes()).hexdigest()
    )
    assert (output["kit_sha256"], output["suspect"]) == (
        kit_of(case_store).digest,
        "stolen.safetensors",
    ), "no folder of the sender's machine"
    assert main(["evidence", "verify", str(pack)]) == 0
    lines, text = capsys.readouterr().out.splitlines(), words(Page((tmp_path / "why.html").read_text()).text)
    for name in named:
        assert f"{name:<14} {output[name]}" in lines and output[name] in text
    assert (
        output["trial"] == "Made by the trial recipe digits: accuse nobody by it."
        and str(tmp_path) not in text
    )
    assert main(["explain", scored["evidence"], "--store", str(case_store)]) == 0
    text = capsys.readouterr().out
    assert (
        text.startswith(output["trial"])
        and f"answers_sha256 {output['answers_sha256']}" in text
        and f"kit_sha256 {output['kit_sha256']}" in text
    )


def test_evidence_keeps_the_whole_name_of_a_suspect(scored: dict[str, Any], case_store: Path) -> None:
    """It is the owner's; what is sent is cut where it is told."""
    meta = open_store(str(case_store)).load("evidence", scored["evidence"]).meta
    assert meta["suspect"] == scored["suspect"] and Path(meta["suspect"]).is_absolute()
