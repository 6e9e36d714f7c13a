"""Evidence from the commitment to the check: what is honest passes, and an owner who frames
somebody is caught."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.cases import Capture, exported, kit_of, suspect, verified
from tests.support.kits import make_kit
from tests.support.makers import make_twin_test, near
from zooaudit.cli import evidence as evidence_commands
from zooaudit.cli.main import main, make_parser
from zooaudit.errors import ConfigError, InputError
from zooaudit.evidence.checks import recomputed
from zooaudit.evidence.packs import Opened, export, opened
from zooaudit.evidence.records import ANSWERS, commitment, keep
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.recipes.named import RECIPES, recipe_from
from zooaudit.storage.encoding import table_to_bytes
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import Recorded, TorchBlackBox
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import Examined
from zooaudit.verdict.ranking import STANDS_OUT


def test_a_stolen_model_is_called_so_and_the_evidence_is_kept(
    scored: dict[str, Any], case_store: Path
) -> None:
    assert scored["decision"] == "stolen" and scored["p_value"] <= scored["level"] == 0.05
    assert scored["queries"] < scored["budget"] and scored["access"] == "probabilities" and scored["settled"]
    kept = open_store(str(case_store)).load("evidence", scored["evidence"])
    assert kept.meta["verdict"]["decision"] == "stolen" and kept.meta["queries"] == scored["queries"]
    assert (
        kept.meta["horizon"] == scored["budget"]
        and kept.meta["p_value"] == "rank"
        and len(kept.meta["suspect_sha256"]) == 64
    )
    assert kept.meta["verdict"]["statistics"] == scored["statistics"]


def test_a_commitment_is_of_kit_level_and_code(case_store: Path, capsys: Capture) -> None:
    kit = kit_of(case_store)
    capsys.readouterr()
    assert main(["kit", "commit", "--store", str(case_store), "--kit", kit.id, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (
        data == commitment(kit)
        and data["kit_sha256"] == kit.digest
        and data["level"] == 0.05
        and data["horizon"] == 100
        and len(data["commitment"]) == 64
    )
    others = [
        commitment(kit, 0.1),
        commitment(kit, access="label"),
        commitment(kit, horizon=50),
        commitment(kit, by="normal"),
    ]
    assert len({data["commitment"], *(o["commitment"] for o in others)}) == 5
    for bad in (["--level", "1"], ["--level", "-0.1"], ["--access", "top"], ["--queries", "60"]):
        assert main(["kit", "commit", "--store", str(case_store), "--kit", kit.id, *bad]) == 2
    assert main(["kit", "commit", "--store", str(case_store)]) == 2
    assert "which kit do you commit to?" in capsys.readouterr().err


def test_a_pack_says_what_was_not_checked(
    scored: dict[str, Any], case_store: Path, tmp_path: Path, capsys: Capture
) -> None:
    pack = exported(case_store, scored["evidence"], tmp_path / "case.zip")
    code, checks, _ = verified(capsys, pack)
    assert code == 0 and {c for c, passed in checks.items() if passed is None} == {
        "answers",
        "commitment",
        "models",
    }
    assert main(["evidence", "verify", str(pack)]) == 0
    assert "nothing speaks against it" in capsys.readouterr().out
    assert main(["evidence", "verify", str(pack), "--with-models", "--farm", "serial"]) == 2
    assert "--with-victim" in capsys.readouterr().err
    assert (
        main(["evidence", "export", str(pack), "--store", str(case_store), "--evidence", scored["evidence"]])
        == 2
    )
    assert "nothing was overwritten" in capsys.readouterr().err


def test_answers_to_the_same_query_twice_are_refused(
    case_store: Path, kept_evidence: Examined, tmp_path: Path, capsys: Capture
) -> None:
    artifacts, kit = open_store(str(case_store)), kit_of(case_store)
    kept = artifacts.load("evidence", keep(artifacts, kit, "s", kept_evidence))
    table = pq.read_table(io.BytesIO(kept.read(ANSWERS)))
    twice = table.set_column(0, table.schema.field(0), pa.array([0, *range(len(table) - 1)], pa.int32()))
    made = artifacts.save_by_digest("evidence", {ANSWERS: table_to_bytes(twice)}, kept.meta)
    assert main(["evidence", "verify", str(exported(case_store, made.id, tmp_path / "twice.zip"))]) == 6
    assert "each once and in order" in capsys.readouterr().out


def test_a_file_name_out_of_a_manifest_is_no_path(case_store: Path, tmp_path: Path) -> None:
    artifacts = open_store(str(tmp_path / "hostile"))
    with pytest.raises(InputError, match=r"written\.txt' cannot name"):
        artifacts.save("model", "victim-own-path", {str(tmp_path / "written.txt"): b"x"}, {})


def test_another_commitment_is_rejected(
    scored: dict[str, Any], case_store: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The owner committed to level .3 and scored at .05, say: after he saw the answers."""
    pack = exported(case_store, scored["evidence"], tmp_path / "case.zip")
    code, checks, _ = verified(
        capsys, pack, "--commitment", commitment(kit_of(case_store), 0.3)["commitment"]
    )
    assert code == 6 and checks["commitment"] is False


def test_an_invented_verdict_does_not_follow_from_the_answers(
    case_store: Path, case_kit: Kit, tmp_path: Path, capsys: Capture
) -> None:
    """Whoever can write a manifest can make its digests right; the answers still say something else."""
    artifacts, test = open_store(str(case_store)), case_kit.twin_test
    found = next(
        e for e in (test.judge(a) for a in test.reference_answers) if e.verdict.decision is Decision.NOT_SHOWN
    )
    lie = replace(found, verdict=replace(found.verdict, decision=Decision.STOLEN, p_value=0.05, rank=1))
    pack = exported(case_store, keep(artifacts, kit_of(case_store), "an innocent", lie), tmp_path / "lie.zip")
    code, checks, output = verified(capsys, pack)
    assert code == 6 and checks["verdict"] is False
    assert "the answers give not shown" in next(
        f["text"] for f in output["findings"] if f["check"] == "verdict"
    )


def test_answers_cut_where_it_suits_accuse_nobody(case_store: Path, case_kit: Kit) -> None:
    """Before the last look only a victim that stands out is called; an exporter cannot stop at a look at
    which it merely leads."""
    test = case_kit.twin_test
    cut = [test.judge(answers[: test.looks[0]]).verdict for answers in test.answers[1:]]
    assert not any(v.settled for v in cut if v.rank != 1 or v.statistics[0] < STANDS_OUT)
    assert all(v.decision is Decision.NOT_SHOWN for v in cut if not v.settled) and not all(
        v.settled for v in cut
    )


def test_an_export_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="--evidence is missing"):
        evidence_commands.evidence(make_parser().parse_args(["evidence", "export", "x.zip"]), None)


def test_several_suspects_are_judged_together(
    case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [suspect(case_store, tmp_path, role)[1] for role in ("homologous", "look-alike")]
    options = ["--kit", kit_of(case_store).id, "--suspect", *names, "--factory", "strangers_nets:make"]
    capsys.readouterr()
    assert main(["score", "--store", str(case_store), *options, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["correction"] == "holm" and [s["suspect"] for s in data["suspects"]] == names
    assert all(s["queries"] == s["budget"] for s in data["suspects"]), "corrected p-values need everything"
    assert all(s["decision"] != "stolen" and s["p_value"] >= 2 / 20 for s in data["suspects"])
    assert main(["score", "--store", str(case_store), *options, "--correction", "none"]) == 0
    text = capsys.readouterr().out
    assert text.count("evidence ") == 2 and text.index(names[0]) < text.index(names[1])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_comes_back_from_its_json(name: str) -> None:
    assert recipe_from(json.loads(json.dumps(asdict(RECIPES[name])))) == RECIPES[name]
    with pytest.raises(ConfigError, match="another version"):
        recipe_from(asdict(RECIPES[name]) | {"colour": "blue"})


def test_answers_come_back_from_a_pack_to_the_bit(tmp_path: Path) -> None:
    test = make_twin_test()
    artifacts = open_store(str(tmp_path / "store"))
    saved = save_kit(artifacts, make_kit(twin_test=test))
    for i, found in enumerate(
        (test.examine(TorchBlackBox(near(0, 1), 4)), test.examine(Recorded(torch.rand(120, 7).softmax(1))))
    ):
        id_ = keep(artifacts, saved, "s", found)
        with opened(export(artifacts, id_, tmp_path / f"{i}.zip")) as pack:
            read = Opened.of(pack)
            assert torch.equal(read.answers, found.answers) and read.kit_artifact.digest == saved.digest
            assert all(f.passed is not False for f in recomputed(read))
