"""Every study on a tiny zoo: what it asks and trains, what it keeps, and what its numbers are made of."""

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import zoos
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit
from zooaudit.cli.main import main
from zooaudit.config import EncoderConfig, VerdictConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, NotEnoughModelsError
from zooaudit.paper.autoencoder import fit_autoencoder
from zooaudit.paper.t_test import mean_p_value
from zooaudit.seeds import derive
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.studies import (
    distributions,
    encoders,
    extractions,
    modifications,
    runner,
    strengths,
    subspaces,
    thieves,
    under_twins,
)
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Cohort, Scores, Variant
from zooaudit.studies.outcome import Finding, Holds, findings_from, spread
from zooaudit.studies.registry import ON_MODELS, STUDIES, get_study
from zooaudit.studies.runner import Result, run_study
from zooaudit.studies.views import within_and_between
from zooaudit.training.farm import Farm, SerialFarm
from zooaudit.verdict.distances import auc
from zooaudit.zoo.spec import Role

TINY = dataclasses.replace(zoos.TINY, zoo=dataclasses.replace(zoos.TINY.zoo, twins=2))


def bench(dataset: Dataset, artifacts: Artifacts, farm: Farm | None = None) -> Bench:
    return zoos.bench(dataset, artifacts, farm, TINY)


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Studies with fewer models, UAPs and steps, but all of their kinds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thieves, "PER_SHARE", 1)
        for name, value in {"STARTS": 2, "FEW": 2, "MANY": 10}.items():
            patch.setattr(encoders, name, value)
        changes: tuple[tuple[ModuleType, dict[str, object]], ...] = (
            (
                modifications,
                {"ITERATIONS": (1, 2), "EPOCHS": (1, 2), "PRUNED": (0.2,), "PRUNED_CHANNELS": (0.2,)},
            ),
            (extractions, {"PER_CELL": 1, "SEED_SHARES": (0.02, 0.05), "ROUNDS": (0, 1)}),
            (strengths, {"TIMES": (0.5, 1.0), "PER_CELL": 2}),
            (under_twins, {"VIEWS": 2, "PAIRS": 10}),
        )
        for module, changed in changes:
            for wanted, small in changed.items():
                patch.setattr(module, wanted, small)
        patch.setattr(strengths, "DEEPFOOL", {"batch_size": 8, "points": 20, "max_steps": 4})
        patch.setattr(
            subspaces,
            "ARMS",
            tuple(dataclasses.replace(arm, most=3, steps=3, points=20) for arm in subspaces.ARMS),
        )
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("studies") / "store")


@pytest.fixture(scope="module")
def done(digits: Dataset, place: str, few: None) -> tuple[Bench, dict[str, Result]]:
    """All studies, run once, on a folder."""
    working = bench(digits, open_store(place), SerialFarm())
    return working, {
        name: run_study(study, working, {"command": "a test"}) for name, study in STUDIES.items()
    }


def test_every_study_gives_a_table_pictures_and_findings(
    done: tuple[Bench, dict[str, Result]], tmp_path: Path
) -> None:
    for name, result in done[1].items():
        assert result.fresh and result.facts["study"] == name and result.facts["command"] == "a test"
        assert result.findings, name
        assert {p.name for p in result.write(tmp_path)} == set(result.files)
        rows = pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
        assert rows and len({tuple(r) for r in rows}) == 1
        data = json.loads((tmp_path / f"{name}.json").read_text())
        assert data["pictures"] and all((tmp_path / p).stat().st_size > 1000 for p in data["pictures"])
        assert findings_from(json.dumps(data["findings"])) == result.findings


def test_every_row_of_the_papers_results_has_a_study() -> None:
    sources = " ".join(s.source for s in STUDIES.values())
    for claim in (
        "tables 2, 3",
        "table 4",
        *(f"figure {n}" for n in ("2", "3", "5", "6a", "6b", "6c", "7", "8", "9", "10", "11", "12", "13")),
    ):
        assert claim in sources, claim


def test_what_is_read_from_answers_asks_nobody(done: tuple[Bench, dict[str, Result]]) -> None:
    results = done[1]
    first = next(iter(results))
    free = ("cdf", "datapoints", "top-k", "views", "autoencoder", "detection", "auc", "accuracy")
    assert first not in free, "the first study pays for the audit's own answers"
    for name in free:
        assert (results[name].facts["queries"], results[name].facts["trained"]) == (0, 0), name
    every = 2 * TINY.fingerprint.points * TINY.fingerprint.views
    assert results["overlap"].facts == results["overlap"].facts | {"queries": 5 * every, "trained": 5}
    assert results["recovery"].facts["trained"] == 2, (
        "the smallest seed set has 10 images, however small the share"
    )
    builders = {first, *(s.name for s in STUDIES.values() if s.builds)}
    assert {name for name, r in results.items() if r.facts["trained"]} == builders


def test_a_second_run_only_reads(done: tuple[Bench, dict[str, Result]], digits: Dataset, place: str) -> None:
    again = bench(digits, open_store(place))
    for name, first in done[1].items():
        result = run_study(STUDIES[name], again, {"command": "another"})
        assert not result.fresh and result.files == first.files
    assert (again.queries, again.trained) == (0, 0)


def test_a_study_that_lacks_models_says_which(
    digits: Dataset, place: str, done: tuple[Bench, dict[str, Result]]
) -> None:
    with pytest.raises(NotEnoughModelsError, match=r"lacks 15 models .*1 victim.*5 piracy.* --build"):
        run_study(STUDIES["auc"], bench(digits, open_store("memory:")), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modifications, "PRUNED", (0.2, 0.7))
        with pytest.raises(NotEnoughModelsError, match=r"lacks 1 models .*1 piracy \(prune\)"):
            STUDIES["modifications"].run(bench(digits, open_store(place)))


def test_the_audits_own_encoder_is_draw_0(done: tuple[Bench, dict[str, Result]], digits: Dataset) -> None:
    """A study's similarities are the audit's, to the bit."""
    working = done[0]
    audit = run_audit(Context(TINY, digits, working.artifacts, SerialFarm(), lambda _: None))
    assert audit.zoo.trained == 0
    scores = working.cohort.scores(Variant(TINY.encoder)).by_spec
    assert {s.id for s in scores} == {s.spec.id for s in audit.suspects}
    for suspect in audit.suspects:
        assert np.array_equal(scores[suspect.spec], suspect.similarities)


def test_modified_models_are_counted_by_kind_and_strength(done: tuple[Bench, dict[str, Result]]) -> None:
    rows = pq.read_table(io.BytesIO(done[1]["modifications"].files["modifications.parquet"])).to_pylist()
    kinds = {(r["kind"], r["strength"]) for r in rows if r["encoder"] == "paper"}
    unchanged = {(k, 0.0) for k, _ in kinds}
    assert kinds - unchanged == {
        ("fine-tune", 1),
        ("fine-tune", 2),
        ("prune", 0.2),
        ("prune-channels", 0.2),
        ("int8", 8),
        ("adversarial", 1),
        ("adversarial", 2),
    }
    assert all(0 <= r["similarity"] <= 1 and 0 <= r["accuracy"] <= 1 for r in rows)


def test_failed_models_are_excluded_and_named(
    digits: Dataset, place: str, done: tuple[Bench, dict[str, Result]]
) -> None:
    """An extraction that recovers nothing is in no number, and in the list."""
    hopeless = dataclasses.replace(TINY, zoo=dataclasses.replace(TINY.zoo, recovery_floor=0.999))
    working = dataclasses.replace(bench(digits, open_store("memory:"), SerialFarm()), recipe=hopeless)
    failed = working.zoo.failed
    working.begin()
    assert failed and working.excluded.keys() == {s.id for s in failed}
    assert all("recovery rate" in reason for reason in working.excluded.values())
    assert not {s.id for s in working.suspects} & working.excluded.keys()


# cohorts, by hand


def cohort(done: tuple[Bench, dict[str, Result]]) -> Cohort:
    return done[0].cohort


def test_a_variant_looks_at_a_part_of_the_answers(done: tuple[Bench, dict[str, Result]]) -> None:
    answers = next(iter(cohort(done).answers.values()))
    encoder = EncoderConfig(steps=1)
    assert torch.equal(Variant(encoder).shaped(answers, 1), answers)
    assert torch.equal(Variant(encoder, points=8).shaped(answers, 1), answers), (
        "all of them are all of them, in their order"
    )
    few_views = Variant(encoder, views=2).shaped(answers, 1)
    assert torch.equal(few_views, answers[:2])
    first, again, other = (Variant(encoder, points=3, draw=d).shaped(answers, 1) for d in (0, 0, 1))
    assert torch.equal(first, again) and first.shape == (4, 3, 2, 10)
    rows = {tuple(r) for r in answers[0].flatten(1).tolist()}
    assert all(tuple(r) in rows for r in first[0].flatten(1).tolist()), (
        "whole datapoints, clean and perturbed together"
    )
    assert not torch.equal(first, other)
    label = Variant(encoder, top_k=0).shaped(answers, 1)
    assert torch.equal(label.argmax(-1), answers.argmax(-1)) and torch.equal(
        label.sum(-1), torch.ones(answers.shape[:-1])
    )


@pytest.mark.parametrize("changes", [{"points": 9}, {"points": 0}, {"views": 5}, {"views": 0}])
def test_a_variant_that_asks_for_more_than_there_is_is_refused(
    changes: dict[str, int], done: tuple[Bench, dict[str, Result]]
) -> None:
    with pytest.raises(ConfigError, match="the stored answers have 1 to"):
        cohort(done).scores(Variant(EncoderConfig(steps=1), **changes))


def test_scores_are_one_a_model(done: tuple[Bench, dict[str, Result]]) -> None:
    scores = cohort(done).scores(Variant(TINY.encoder))
    piracy, homologous = scores.of(Role.PIRACY), scores.of(Role.HOMOLOGOUS)
    assert len(piracy.means) == len(homologous.means) == 3 and len(piracy.views) == 12
    assert scores.auc(Role.HOMOLOGOUS) == auc(piracy.means.tolist(), homologous.means.tolist())
    assert scores.gap == pytest.approx(float(piracy.means.mean() - homologous.means.mean()))
    assert Scores({}).views.size == 0 and scores.where(architecture="nothing").means.size == 0


def test_a_models_p_rests_on_the_other_references(done: tuple[Bench, dict[str, Result]]) -> None:
    scores = cohort(done).scores(Variant(TINY.encoder))
    own = next(iter(scores.of(Role.HOMOLOGOUS).by_spec))
    raised = Scores({s: v + (5.0 if s == own else 0.0) for s, v in scores.by_spec.items()})
    assert raised.p_values(TINY.verdict, 1, Role.HOMOLOGOUS)[own] < 0.05, (
        "far above the others, and not compared with itself"
    )


def test_a_p_of_the_cell_rests_on_models_of_that_architecture_and_optimiser(
    done: tuple[Bench, dict[str, Result]],
) -> None:
    scores = cohort(done).scores(Variant(TINY.encoder))
    first, *others = scores.of(Role.HOMOLOGOUS).by_spec
    elsewhere = {s: dataclasses.replace(s, optimiser="adam") for s in others}
    moved = Scores(
        {elsewhere.get(s, s): v + (5.0 if s in elsewhere else 0.0) for s, v in scores.by_spec.items()}
    )
    p = moved.p_values(TINY.verdict, 1, Role.PIRACY, of_cell=True)
    alone = Scores({s: v for s, v in moved.by_spec.items() if s not in elsewhere.values()})
    own = mean_p_value(
        alone.by_spec[next(iter(p))],
        np.stack([moved.by_spec[first]]),
        TINY.verdict,
        derive(1, "verdict", next(iter(p)).id),
    )
    assert p[next(iter(p))] == own, "the raised ones are of another cell"
    assert np.isnan(moved.p_values(TINY.verdict, 1, Role.HOMOLOGOUS, of_cell=True)[first]), (
        "nobody is left to compare it with"
    )


@given(seed=st.integers(0, 20))
def test_within_and_between_are_means_of_cosines(seed: int) -> None:
    z = torch.nn.functional.normalize(
        torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(seed)), dim=-1
    )
    within, between = [], []
    for a in range(3):
        for b in range(3):
            for v in range(2):
                for w in range(2):
                    if a != b:
                        between.append(float(z[a, v] @ z[b, w]))
                    elif v != w:
                        within.append(float(z[a, v] @ z[a, w]))
    assert within_and_between(z) == (
        pytest.approx(np.mean(within), abs=1e-5),
        pytest.approx(np.mean(between), abs=1e-5),
    )


@given(
    a=st.lists(st.floats(0, 1), min_size=1, max_size=20), b=st.lists(st.floats(0, 1), min_size=1, max_size=20)
)
def test_the_largest_distance_is_that_of_two_distribution_functions(a: list[float], b: list[float]) -> None:
    expected = max(abs(np.mean([x <= t for x in a]) - np.mean([x <= t for x in b])) for t in [*a, *b])
    assert distributions._largest_distance(np.array(a), np.array(b)) == pytest.approx(expected)


def test_an_autoencoder_learns_to_rebuild() -> None:
    rows = torch.rand(64, 30, generator=torch.Generator().manual_seed(0))
    config = EncoderConfig("autoencoder", steps=30)
    first, again = fit_autoencoder(rows, config, 3), fit_autoencoder(rows, config, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert first.embed(rows).shape == (64, 20)


def test_claims_about_an_encoder_that_does_not_separate_are_left_open(
    done: tuple[Bench, dict[str, Result]], monkeypatch: pytest.MonkeyPatch
) -> None:
    working = done[0]
    monkeypatch.setattr(Bench, "separation", lambda self, encoder: 0.89)
    assert working.holds(True, "paper") is Holds.UNDECIDED
    monkeypatch.setattr(Bench, "separation", lambda self, encoder: 0.9)
    assert (
        working.holds(True, "paper") is Holds.REPRODUCED
        and working.holds(False, "paper") is Holds.NOT_REPRODUCED
    )


def test_a_spread_says_median_and_range() -> None:
    assert spread([0.3, 0.1, 0.2]) == "0.200 [0.100, 0.300]"
    assert spread([0.5]) == "0.500" and spread([1.0, 2.0], "{:.1f}") == "1.5 [1.0, 2.0]"


def test_an_unknown_study_names_the_known() -> None:
    with pytest.raises(ConfigError, match="known studies: similarity, encoders, accuracy"):
        get_study("everything")


def test_a_study_is_run_anew_when_its_code_or_its_zoo_is_another(
    digits: Dataset, place: str, done: tuple[Bench, dict[str, Result]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "METHOD", "another")
        assert run_study(STUDIES["accuracy"], bench(digits, open_store(place)), {}).fresh
    other = dataclasses.replace(
        bench(digits, open_store(place)),
        recipe=dataclasses.replace(TINY, verdict=VerdictConfig(fingerprints=3)),
    )
    assert run_study(STUDIES["accuracy"], other, {}).fresh
    assert not run_study(STUDIES["accuracy"], bench(digits, open_store(place)), {}).fresh


@pytest.mark.parametrize("role", [Role.PIRACY, Role.HOMOLOGOUS])
def test_a_zoo_too_thin_for_studies_is_named(
    role: Role, digits: Dataset, place: str, done: tuple[Bench, dict[str, Result]]
) -> None:
    thin = bench(digits, open_store(place))
    kept = [s for s in thin.suspects if s.role is not role]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "suspects", kept)
        with pytest.raises(NotEnoughModelsError, match=f"0 {role} suspects learnt"):
            STUDIES["auc"].run(thin)


# the command line


def test_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*STUDIES, *ON_MODELS]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny zoo's recipe, by name."""
    monkeypatch.setitem(__import__("zooaudit.recipes.named", fromlist=["RECIPES"]).RECIPES, "tiny", TINY)


def test_the_command_writes_files_and_says_what_holds(
    known: None,
    place: str,
    done: tuple[Bench, dict[str, Result]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        main(["study", "views", "auc", "--recipe", "tiny", "--store", place, "--out", str(tmp_path / "out")])
        == 0
    )
    output = capsys.readouterr().out
    assert "Views of one model are more alike" in output and "read from the store" in output
    assert {"views.json", "views.parquet", "views.svg", "auc.json"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }


def test_a_programme_gets_one_object_with_the_tables_rows(
    known: None,
    place: str,
    done: tuple[Bench, dict[str, Result]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        main(["study", "auc", "--recipe", "tiny", "--store", place, "--out", str(tmp_path / "out"), "--json"])
        == 0
    )
    data = json.loads(capsys.readouterr().out)
    assert data["rows"] == [{"study": "auc", **row} for row in done[1]["auc"].rows]
    assert {"encoder", "auc_homologous", "auc_look_alike"} <= set(data["rows"][0])


def test_studies_that_lack_models_do_not_stop_the_others(
    known: None,
    place: str,
    done: tuple[Bench, dict[str, Result]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    few: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modifications, "PRUNED", (0.3,))
    monkeypatch.setattr(runner, "METHOD", "another")  # so that nothing is read
    command = [
        "study",
        "modifications",
        "views",
        "--recipe",
        "tiny",
        "--store",
        place,
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == NotEnoughModelsError.exit_code
    out, err = capsys.readouterr()
    assert "Views of one model" in out and (tmp_path / "out" / "views.json").exists()
    assert "1 of 2 studies lack models (modifications)" in err and "--build" in err


@pytest.mark.parametrize("names", [["all", "views"], ["nothing"]])
def test_wrong_names_are_bad_input(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *names]) == 2
    assert "stud" in capsys.readouterr().err


def test_findings_come_back_as_they_were() -> None:
    made = [Finding("c", "figure 1", "1", "2", "3 models", Holds.UNDECIDED, "why")]
    assert findings_from(json.dumps([dataclasses.asdict(f) for f in made])) == made
