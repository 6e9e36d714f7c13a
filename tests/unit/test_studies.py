"""Every study on a tiny zoo: what it gives, what it asks and trains, what it keeps, and what it lacks."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.studied import TINY, Studied, bench
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit
from zooaudit.config import VerdictConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, NotEnoughModelsError
from zooaudit.storage.opening import open_store
from zooaudit.studies import modifications, runner
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Holds, findings_from, spread
from zooaudit.studies.registry import STUDIES, get_study
from zooaudit.studies.runner import run_study
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.spec import Role

pytestmark = [pytest.mark.xdist_group("studies"), pytest.mark.usefixtures("small_studies")]


def test_every_study_gives_a_table_pictures_and_findings(studied: Studied, tmp_path: Path) -> None:
    for name, result in studied.results.items():
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


def test_what_is_read_from_answers_asks_nobody(studied: Studied) -> None:
    results = studied.results
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


def test_a_second_run_only_reads(studied: Studied, digits: Dataset) -> None:
    again = bench(digits, open_store(studied.place))
    for name, first in studied.results.items():
        result = run_study(STUDIES[name], again, {"command": "another"})
        assert not result.fresh and result.files == first.files
    assert (again.queries, again.trained) == (0, 0)


def test_a_study_that_lacks_models_says_which(digits: Dataset, studied: Studied) -> None:
    with pytest.raises(NotEnoughModelsError, match=r"lacks 15 models .*1 victim.*5 piracy.* --build"):
        run_study(STUDIES["auc"], bench(digits, open_store("memory:")), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modifications, "PRUNED", (0.2, 0.7))
        with pytest.raises(NotEnoughModelsError, match=r"lacks 1 models .*1 piracy \(prune\)"):
            STUDIES["modifications"].run(bench(digits, open_store(studied.place)))


def test_the_audits_own_encoder_is_draw_0(studied: Studied, digits: Dataset) -> None:
    """A study's similarities are the audit's, to the bit."""
    working = studied.bench
    audit = run_audit(Context(TINY, digits, working.artifacts, SerialFarm(), lambda _: None))
    assert audit.zoo.trained == 0
    scores = working.cohort.scores(Variant(TINY.encoder)).by_spec
    assert {s.id for s in scores} == {s.spec.id for s in audit.suspects}
    for suspect in audit.suspects:
        assert np.array_equal(scores[suspect.spec], suspect.similarities)


def test_modified_models_are_counted_by_kind_and_strength(studied: Studied) -> None:
    rows = pq.read_table(
        io.BytesIO(studied.results["modifications"].files["modifications.parquet"])
    ).to_pylist()
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


def test_failed_models_are_excluded_and_named(digits: Dataset, studied: Studied) -> None:
    """An extraction that recovers nothing is in no number, and in the list."""
    hopeless = dataclasses.replace(TINY, zoo=dataclasses.replace(TINY.zoo, recovery_floor=0.999))
    working = dataclasses.replace(bench(digits, open_store("memory:"), SerialFarm()), recipe=hopeless)
    failed = working.zoo.failed
    working.begin()
    assert failed and working.excluded.keys() == {s.id for s in failed}
    assert all("recovery rate" in reason for reason in working.excluded.values())
    assert not {s.id for s in working.suspects} & working.excluded.keys()


def test_claims_about_an_encoder_that_does_not_separate_are_left_open(
    studied: Studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = studied.bench
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


def test_a_study_is_run_anew_when_its_code_or_its_zoo_is_another(digits: Dataset, studied: Studied) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "METHOD", "another")
        assert run_study(STUDIES["accuracy"], bench(digits, open_store(studied.place)), {}).fresh
    other = dataclasses.replace(
        bench(digits, open_store(studied.place)),
        recipe=dataclasses.replace(TINY, verdict=VerdictConfig(fingerprints=3)),
    )
    assert run_study(STUDIES["accuracy"], other, {}).fresh
    assert not run_study(STUDIES["accuracy"], bench(digits, open_store(studied.place)), {}).fresh


@pytest.mark.parametrize("role", [Role.PIRACY, Role.HOMOLOGOUS])
def test_a_zoo_too_thin_for_studies_is_named(role: Role, digits: Dataset, studied: Studied) -> None:
    thin = bench(digits, open_store(studied.place))
    kept = [s for s in thin.suspects if s.role is not role]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "suspects", kept)
        with pytest.raises(NotEnoughModelsError, match=f"0 {role} suspects learnt"):
            STUDIES["auc"].run(thin)


def test_findings_come_back_as_they_were() -> None:
    made = [Finding("c", "figure 1", "1", "2", "3 models", Holds.UNDECIDED, "why")]
    assert findings_from(json.dumps([dataclasses.asdict(f) for f in made])) == made
