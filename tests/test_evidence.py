"""Evidence from the commitment to the check: what is honest passes, and an owner who frames somebody is caught."""

import io
import json
import shutil
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.finished import Finished
from tests.makers import make_probe
from tests.test_kit import make_kit
from zooaudit import evidence
from zooaudit.cli import main, make_parser
from zooaudit.errors import ConfigError, DamagedArtifactError, InputError
from zooaudit.kit import Kit, find_kit, load_kit, save_kit
from zooaudit.kit_commands import evidence_command
from zooaudit.recipes import RECIPES, recipe_from
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts, open_store, table_to_bytes
from zooaudit.storage.models import WEIGHTS, load_module
from zooaudit.suspects.blackbox import Recorded
from zooaudit.verdict.calibrated import Call
from zooaudit.verdict.many import corrected
from zooaudit.verdict.probe import Answered

Capture = pytest.CaptureFixture[str]
FACTORY = """
from dataclasses import asdict, replace
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.shape import ModelShape
from zooaudit.data.resolve import load_digits

def make():
    mean, std = load_digits().channel_stats
    return build_architecture({architecture!r}, ModelShape((1, 8, 8), 10, mean, std, (8, 16), 32))
"""


@pytest.fixture(scope="module")
def store(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished audit's store, for this module to add evidence to."""
    return Path(shutil.copytree(finished.store, tmp_path_factory.mktemp("evidence") / "store"))


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checker's store: models that one check trained serve the next."""
    return tmp_path_factory.mktemp("checker") / "store"


def suspect(store: Path, folder: Path, role: str) -> list[str]:
    """Options of ``score`` for a model of the zoo, as a stranger's file."""
    artifacts = open_store(str(store))
    specs = {i: artifacts.load("model", i).meta["spec"] for i in artifacts.ids("model") if i.startswith(f"{role}-C")}
    id_ = next(i for i, spec in specs.items() if spec["group"] == "suspect")
    (folder / f"{role}.safetensors").write_bytes(artifacts.load("model", id_).read(WEIGHTS))
    (folder / "strangers_nets.py").write_text(FACTORY.format(architecture="C"))
    return ["--suspect", str(folder / f"{role}.safetensors"), "--factory", "strangers_nets:make"]


@pytest.fixture
def scored(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> dict[str, Any]:
    """A copy of the victim, scored."""
    monkeypatch.syspath_prepend(str(tmp_path))
    capsys.readouterr()
    assert main(["score", "--store", str(store), "--kit", kit_of(store).id, *suspect(store, tmp_path, "piracy"), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def kit_of(store: Path) -> Artifact:
    """The kit that the audit made, not one that a test tampered with."""
    artifacts = open_store(str(store))
    return find_kit(artifacts, next(k for k in artifacts.ids("kit") if "framed" not in artifacts.load("kit", k).meta["facts"]))


def exported(store: Path, id_: str, out: Path, *options: str) -> Path:
    assert main(["evidence", "export", str(out), "--store", str(store), "--evidence", id_, *options]) == 0
    return out


def verified(capsys: Capture, pack: Path, *options: str) -> tuple[int, dict[str, bool | None], dict[str, Any]]:
    capsys.readouterr()
    code = main(["evidence", "verify", str(pack), "--json", "--farm", "serial", *options])
    told = json.loads(capsys.readouterr().out)
    return code, {f["check"]: f["passed"] for f in told["findings"]}, told


def test_a_stolen_model_is_called_so_and_the_evidence_is_kept(scored: dict[str, Any], store: Path) -> None:
    assert scored["call"] == "stolen" and scored["p_value"] <= scored["level"] == 0.2
    assert scored["queries"] < scored["budget"] and scored["access"] == "probabilities"
    kept = open_store(str(store)).load("evidence", scored["evidence"])
    assert kept.meta["verdict"]["call"] == "stolen" and kept.meta["queries"] == scored["queries"]


def test_a_commitment_is_of_kit_level_and_code(store: Path, capsys: Capture) -> None:
    kit = kit_of(store)
    capsys.readouterr()
    assert main(["kit", "commit", "--store", str(store), "--kit", kit.id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == evidence.commitment(kit) and told["kit_sha256"] == kit.digest and told["level"] == 0.2 and len(told["commitment"]) == 64
    others = [evidence.commitment(kit, 0.1), evidence.commitment(kit, access="label")]
    assert len({told["commitment"], *(o["commitment"] for o in others)}) == 3
    for bad in (["--level", "1"], ["--level", "-0.1"], ["--access", "top"]):
        assert main(["kit", "commit", "--store", str(store), "--kit", kit.id, *bad]) == 2
    assert main(["kit", "commit", "--store", str(store)]) == 2
    assert "which kit do you commit to?" in capsys.readouterr().err


def test_honest_evidence_passes_everywhere(scored: dict[str, Any], store: Path, checker: Path, tmp_path: Path, capsys: Capture) -> None:
    pack = exported(store, scored["evidence"], tmp_path / "case.zip", "--with-victim")
    committed = evidence.commitment(kit_of(store))["commitment"]
    code, checks, _ = verified(capsys, pack, "--commitment", committed, "--with-models", "--store", str(checker), "--seed", "77")
    assert code == 0 and False not in checks.values(), checks
    assert {c for c, passed in checks.items() if passed is None} == {"answers", "UAP on innocents"}
    made = {"UAP", "questions", "victim", "checker's copies", "checker's homologous", "checker's look-alike"}
    assert set(checks) >= {"contents", "settings", "commitment", "code", "verdict", *made}


def test_a_pack_says_what_was_not_checked(scored: dict[str, Any], store: Path, tmp_path: Path, capsys: Capture) -> None:
    pack = exported(store, scored["evidence"], tmp_path / "case.zip")
    code, checks, _ = verified(capsys, pack)
    assert code == 0 and {c for c, passed in checks.items() if passed is None} == {"answers", "commitment", "models"}
    assert main(["evidence", "verify", str(pack)]) == 0
    assert "nothing speaks against it" in capsys.readouterr().out
    assert main(["evidence", "verify", str(pack), "--with-models", "--farm", "serial"]) == 2
    assert "--with-victim" in capsys.readouterr().err
    assert main(["evidence", "export", str(pack), "--store", str(store), "--evidence", scored["evidence"]]) == 2
    assert "nothing was overwritten" in capsys.readouterr().err


def test_settings_that_do_not_give_the_commitment_are_rejected(store: Path, tmp_path: Path, capsys: Capture) -> None:
    """An owner committed to one level, scored at another, and wrote the committed digest beside it."""
    artifacts, kit = open_store(str(store)), kit_of(store)
    probe = load_kit(artifacts, kit.id).probe
    found = probe.examine(Recorded(probe.copies.answers[0]), level=0.3)
    kept = artifacts.load("evidence", evidence.keep(artifacts, kit, "s", found))
    committed = evidence.commitment(kit)["commitment"]
    forged = artifacts.save_by_digest("evidence", {n: kept.read(n) for n in kept.files}, kept.meta | {"commitment": committed})
    code, checks, _ = verified(capsys, exported(store, forged.id, tmp_path / "forged.zip"), "--commitment", committed)
    assert code == 6 and checks["commitment"] is True and checks["settings"] is False


def test_a_call_that_holds_for_one_suspect_alone_is_not_the_evidence_on_several(store: Path, tmp_path: Path, capsys: Capture) -> None:
    artifacts, kit = open_store(str(store)), kit_of(store)
    probe = load_kit(artifacts, kit.id).probe
    found = probe.examine(Recorded(probe.copies.answers[0]), early=False)
    assert found.verdict.call is Call.STOLEN
    p = (found.verdict.p_value, 0.9, 0.8)
    together = evidence.Together("holm", p, 0)
    called = corrected([replace(found.verdict, p_value=x) for x in p])[0]
    assert called.call is not Call.STOLEN
    honest = exported(store, evidence.keep(artifacts, kit, "s", found, together=together, call=called), tmp_path / "honest.zip")
    assert verified(capsys, honest)[1]["verdict"] is True
    lie = exported(store, evidence.keep(artifacts, kit, "s", found, together=together), tmp_path / "lie.zip")
    code, checks, _ = verified(capsys, lie)
    assert code == 6 and checks["verdict"] is False


@pytest.mark.parametrize(
    "change",
    [{"queries": "many"}, {"together": {"correction": "none", "p_values": [0.1], "index": 5}}, {"together": {}}, {"together": None}],
)
def test_settings_of_another_kind_are_one_line(change: dict[str, Any], store: Path, tmp_path: Path, capsys: Capture) -> None:
    artifacts, kit = open_store(str(store)), kit_of(store)
    probe = load_kit(artifacts, kit.id).probe
    kept = artifacts.load("evidence", evidence.keep(artifacts, kit, "s", probe.examine(Recorded(probe.copies.answers[0]))))
    made = artifacts.save_by_digest("evidence", {n: kept.read(n) for n in kept.files}, kept.meta | change)
    assert main(["evidence", "verify", str(exported(store, made.id, tmp_path / "odd.zip"))]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_reading_that_is_not_the_answers_is_rejected(store: Path, tmp_path: Path, capsys: Capture) -> None:
    """The checker's models would be read otherwise than the suspect was."""
    artifacts, kit = open_store(str(store)), kit_of(store)
    probe = load_kit(artifacts, kit.id).probe
    kept = artifacts.load("evidence", evidence.keep(artifacts, kit, "s", probe.examine(Recorded(probe.copies.answers[0]))))
    made = artifacts.save_by_digest("evidence", {n: kept.read(n) for n in kept.files}, kept.meta | {"read_as": "label"})
    code, checks, _ = verified(capsys, exported(store, made.id, tmp_path / "read.zip"))
    assert code == 6 and checks["verdict"] is False


def test_answers_to_the_same_query_twice_are_refused(store: Path, tmp_path: Path, capsys: Capture) -> None:
    artifacts, kit = open_store(str(store)), kit_of(store)
    probe = load_kit(artifacts, kit.id).probe
    kept = artifacts.load("evidence", evidence.keep(artifacts, kit, "s", probe.examine(Recorded(probe.copies.answers[0]))))
    table = pq.read_table(io.BytesIO(kept.read(evidence.ANSWERS)))
    twice = table.set_column(0, table.schema.field(0), pa.array([0, *range(len(table) - 1)], pa.int32()))
    made = artifacts.save_by_digest("evidence", {evidence.ANSWERS: table_to_bytes(twice)}, kept.meta)
    assert main(["evidence", "verify", str(exported(store, made.id, tmp_path / "twice.zip"))]) == 2
    assert "each once and in order" in capsys.readouterr().err


def test_a_file_name_out_of_a_manifest_is_no_path(store: Path, tmp_path: Path) -> None:
    artifacts = open_store(str(tmp_path / "hostile"))
    meta = {"factory": None, "image_shape": [1, 8, 8], "num_classes": 10, "record": {}}
    artifacts.save("model", "victim-own-path", {str(tmp_path / "written.txt"): b"x"}, meta)
    with pytest.raises(DamagedArtifactError, match=r"neither weights\.safetensors nor module\.pt2"):
        load_module(artifacts, "victim-own-path")
    assert not (tmp_path / "written.txt").exists()


def test_a_kit_whose_questions_are_made_up_is_found(
    scored: dict[str, Any], store: Path, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    artifacts, kit = open_store(str(store)), load_kit(open_store(str(store)), kit_of(store).id)
    labels = kit.probe.labels.clone()
    labels[0] = (labels[0] + 1) % 10
    saved = save_kit(artifacts, replace(kit, probe=replace(kit.probe, labels=labels), facts=kit.facts | {"framed": "labels"}))
    found = kit.probe.examine(Recorded(kit.probe.copies.answers[0]))
    pack = exported(store, evidence.keep(artifacts, saved, "s", found), tmp_path / "labels.zip", "--with-victim")
    code, checks, _ = verified(capsys, pack, "--with-models", "--store", str(checker), "--seed", "77")
    assert code == 6 and checks["questions"] is False


def test_another_commitment_is_rejected(scored: dict[str, Any], store: Path, tmp_path: Path, capsys: Capture) -> None:
    """The owner committed to level .2 and scored at .3, say: after he saw the answers."""
    pack = exported(store, scored["evidence"], tmp_path / "case.zip")
    code, checks, _ = verified(capsys, pack, "--commitment", evidence.commitment(kit_of(store), 0.3)["commitment"])
    assert code == 6 and checks["commitment"] is False


def repacked(pack: Path, out: Path, change: Any) -> Path:
    """The pack with its store changed by ``change``, a function of the folder."""
    folder = out.with_suffix("")
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(folder)
    change(folder)
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return out


def test_a_changed_byte_is_found(scored: dict[str, Any], store: Path, tmp_path: Path, capsys: Capture) -> None:
    pack = exported(store, scored["evidence"], tmp_path / "case.zip")

    def flip(folder: Path) -> None:
        for path in (folder / "objects").rglob("*"):
            if path.is_file():
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 1
                path.write_bytes(bytes(content))

    assert main(["evidence", "verify", str(repacked(pack, tmp_path / "changed.zip", flip))]) == DamagedArtifactError.exit_code
    capsys.readouterr()


def test_an_invented_verdict_does_not_follow_from_the_answers(store: Path, tmp_path: Path, capsys: Capture) -> None:
    """Whoever can write a manifest can make its digests right; the answers still say something else."""
    artifacts, kit = open_store(str(store)), kit_of(store)
    innocent = next(m.id for m in load_kit(artifacts, kit.id).probe.references.models if m.family == "homologous")
    probe = load_kit(artifacts, kit.id).probe
    answers = probe.references.answers[[m.id for m in probe.references.models].index(innocent)]
    found = probe.examine(Recorded(answers))
    assert found.verdict.call is Call.NOT_SHOWN
    lie = replace(found, verdict=replace(found.verdict, call=Call.STOLEN, p_value=0.01))
    pack = exported(store, evidence.keep(artifacts, kit, innocent, lie), tmp_path / "lie.zip")
    code, checks, told = verified(capsys, pack)
    assert code == 6 and checks["verdict"] is False
    assert "the answers give not shown" in next(f["told"] for f in told["findings"] if f["check"] == "verdict")


def framed(store: Path, suspect_answers: torch.Tensor, kit: Kit, name: str) -> str:
    """Evidence by a kit that the owner tampered with before he committed to it: all of its digests are right."""
    artifacts = open_store(str(store))
    saved = save_kit(artifacts, replace(kit, facts=kit.facts | {"framed": name}))
    found = kit.probe.examine(Recorded(suspect_answers))
    assert found.verdict.call is Call.STOLEN, "the frame must work, or catching it proves nothing"
    return evidence.keep(artifacts, saved, name, found)


def harmless_references(kit: Kit) -> Kit:
    """A kit that accuses everybody: its references are models that look like nobody, yet do the task on the checks."""
    probe = kit.probe
    flat = torch.full_like(probe.references.answers, 0.02)
    flat.scatter_(2, probe.labels.view(1, -1, 1).expand(len(flat), -1, 1), 0.82)
    flat[:, probe.checks :] = (1 - probe.copies.answers.mean(0)[probe.checks :]) / (probe.num_classes - 1)
    flat += torch.rand(flat.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    return replace(kit, probe=replace(probe, references=Answered(probe.references.models, flat / flat.sum(-1, keepdim=True))))


def copies_of_the_suspect(kit: Kit, target: torch.Tensor) -> Kit:
    """A kit that accuses one: what it calls copies of the victim answer as the suspect does, with a little noise."""
    probe = kit.probe
    noise = torch.rand(len(probe.copies), *target.shape, generator=torch.Generator().manual_seed(0)) * 0.05
    answers = target + noise
    return replace(kit, probe=replace(probe, copies=Answered(probe.copies.models, answers / answers.sum(-1, keepdim=True))))


@pytest.mark.parametrize("way", ["everybody", "one"])
def test_an_owner_who_frames_an_innocent_is_caught(way: str, store: Path, checker: Path, tmp_path: Path, capsys: Capture) -> None:
    kit = load_kit(open_store(str(store)), kit_of(store).id)
    target = next(i for i, m in enumerate(kit.probe.references.models) if m.family == "homologous")
    answers = kit.probe.references.answers[target]
    others = [i for i in range(len(kit.probe.references)) if i != target]
    known = kit.probe.references
    blind = replace(kit, probe=replace(kit.probe, references=Answered(tuple(known.models[i] for i in others), known.answers[others])))
    made = harmless_references(blind) if way == "everybody" else copies_of_the_suspect(blind, answers)
    pack = exported(store, framed(store, answers, made, f"innocent, {way}"), tmp_path / "frame.zip", "--with-victim")
    code, checks, _ = verified(capsys, pack)
    assert code == 0 and False not in checks.values(), "the pack by itself is consistent"
    code, checks, _ = verified(capsys, pack, "--with-models", "--store", str(checker), "--seed", "77")
    assert code == 6
    assert checks["checker's homologous" if way == "everybody" else "victim"] is False, checks


def test_a_packs_code_runs_only_if_it_is_allowed(store: Path, tmp_path: Path, capsys: Capture) -> None:
    artifacts, kit = open_store(str(store)), load_kit(open_store(str(store)), kit_of(store).id)
    own = artifacts.load("model", kit.victim)
    meta = {"factory": "os:abort", "image_shape": [1, 8, 8], "num_classes": 10, "record": own.meta["record"]}
    artifacts.save("model", "victim-own-evil", {WEIGHTS: own.read(WEIGHTS)}, meta)
    saved = save_kit(artifacts, replace(kit, victim="victim-own-evil", facts=kit.facts | {"framed": "evil"}))
    found = kit.probe.examine(Recorded(kit.probe.copies.answers[0]))
    pack = exported(store, evidence.keep(artifacts, saved, "s", found), tmp_path / "evil.zip", "--with-victim")
    assert main(["evidence", "verify", str(pack), "--with-models", "--farm", "serial", "--store", str(tmp_path / "mine")]) == 2
    assert "the victim is built by 'os:abort', code that would run here" in capsys.readouterr().err


def test_what_is_no_pack(tmp_path: Path, capsys: Capture, artifacts: Artifacts) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    for name, says in (("text.zip", "is no pack"), ("missing.zip", "does not exist")):
        assert main(["evidence", "verify", str(tmp_path / name)]) == 2
        assert says in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("a", "b")
    assert main(["evidence", "verify", str(tmp_path / "empty.zip")]) == 2
    assert "0 pieces of evidence" in capsys.readouterr().err
    with pytest.raises(InputError, match="--evidence is missing"):
        evidence_command(make_parser().parse_args(["evidence", "export", str(tmp_path / "x.zip")]), None)  # type: ignore[arg-type]


def test_several_suspects_are_judged_together(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [suspect(store, tmp_path, role)[1] for role in ("piracy", "homologous", "look-alike")]
    options = ["--kit", kit_of(store).id, "--suspect", *names, "--factory", "strangers_nets:make"]
    capsys.readouterr()
    assert main(["score", "--store", str(store), *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["correction"] == "holm" and [s["suspect"] for s in told["suspects"]] == names
    assert all(s["queries"] == s["budget"] for s in told["suspects"]), "corrected p-values need everything"
    piracy, homologous, _ = told["suspects"]
    assert piracy["p_value"] >= 2 / 11 and homologous["call"] != "stolen"
    assert main(["score", "--store", str(store), *options, "--correction", "none"]) == 0
    text = capsys.readouterr().out
    assert text.count("queries") == 3 and "stolen: p 0.091 <= 0.2" in text
    assert main(["score", "--store", str(store), "--kit", kit_of(store).id, "--suspect", names[0], names[0]]) == 2
    assert "named twice" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_comes_back_from_its_json(name: str) -> None:
    assert recipe_from(json.loads(json.dumps(asdict(RECIPES[name])))) == RECIPES[name]
    with pytest.raises(ConfigError, match="another version"):
        recipe_from(asdict(RECIPES[name]) | {"colour": "blue"})


def test_answers_come_back_from_a_pack_to_the_bit(tmp_path: Path) -> None:
    probe = make_probe()
    artifacts = open_store(str(tmp_path / "store"))
    saved = save_kit(artifacts, make_kit(probe=probe))
    found = probe.examine(Recorded(probe.copies.answers[0]))
    id_ = evidence.keep(artifacts, saved, "s", found)
    with evidence.opened(evidence.export(artifacts, id_, tmp_path / "p.zip")) as pack:
        opened = evidence.Opened.of(pack)
        assert torch.equal(opened.answers, found.answers) and opened.kit_artifact.digest == saved.digest
        assert all(f.passed is not False for f in evidence.recomputed(opened))
