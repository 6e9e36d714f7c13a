"""The audit kit: all that is needed to audit suspects of one victim; immutable, named by its digest."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from zooaudit.config import EncoderConfig, VerdictConfig
from zooaudit.data.images import to_unit
from zooaudit.errors import AnswersError, ConfigError, DamagedArtifactError
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.fingerprint import ask, check_answers, fingerprints, queries
from zooaudit.paper.similarity import similarities
from zooaudit.paper.t_test import Verdict, decide
from zooaudit.recipes.named import trial
from zooaudit.seeds import derive
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes, tensors_to_bytes
from zooaudit.storage.manifest import NAME
from zooaudit.suspects.blackbox import BlackBox
from zooaudit.verdict.stored import described, tensors_of
from zooaudit.verdict.stored import read as read_test
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.spec import Role

KIND = "kit"
FIRST = "asked_as"
"""The field of a kit that was made from another one by adding twins: the id under which its suspects are
asked."""
TENSORS, REFERENCES = "kit.safetensors", "references.parquet"
REFERENCE_SCHEMA = pa.schema([("model", pa.string()), ("similarities", pa.list_(pa.float32()))])


def asked_as(kit: Artifact) -> str:
    """The kit id in APIs' ledgers and in files of questions. Adding twins does not change it, since the
    questions stay the same."""
    facts = kit.meta.get("facts")
    result = facts.get(FIRST, kit.id) if isinstance(facts, dict) else kit.id
    if not isinstance(result, str) or not NAME.fullmatch(result):  # it becomes part of a file name
        raise DamagedArtifactError(
            f"kit {kit.id} says that it is asked as {str(result)[:80]!r}; expected a kit's id"
        )
    return result


@dataclass(frozen=True, eq=False)
class Kit:
    """What a victim's owner needs to ask a suspect and judge its answers.

    Attributes:
        victim: id of the victim.
        v: the UAP, float32 ``[c, h, w]``.
        points: datapoints by view, uint8 ``[views, N, c, h, w]``.
        victim_answers: float32 ``[views, N, 2, K]``.
        references: for the paper's test: similarities float32 ``[models, views]`` of homologous models that
            did not train the encoder.
        verdict: settings of the paper's test.
        twin_test: the twin test's questions and answers.
        facts: shown in the report (fooling rate, look-alikes flagged, ...).
    """

    victim: str
    v: Tensor
    points: Tensor
    victim_answers: Tensor
    encoder: Encoder
    encoder_config: EncoderConfig
    reference_ids: tuple[str, ...]
    references: np.ndarray
    verdict: VerdictConfig
    seed: int
    twin_test: TwinTest
    facts: dict[str, Any]

    def named(self, others: int | None = None) -> tuple[str, ...]:
        """Names of a suspect's classes: the kit's, or numbers if the suspect has ``others`` of its own."""
        return self.classes if others in (None, self.num_classes) else tuple(map(str, range(others or 0)))

    @property
    def num_classes(self) -> int:
        return self.victim_answers.shape[-1]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        c, h, w = self.points.shape[2:]
        return int(c), int(h), int(w)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the answers; their numbers for kits without names."""
        return tuple(self.facts.get("classes") or map(str, range(self.num_classes)))

    def questions(self, views: int | None = None) -> Tensor:
        """All images of the paper's test: float ``[views, N, 2, c, h, w]`` in [0, 1].

        Raises:
            ConfigError: more views than the kit has, or fewer than the test draws.
        """
        most, n = self.points.shape[:2]
        views = most if views is None else views
        if not self.verdict.fingerprints <= views <= most:
            raise ConfigError(
                f"{views} views; expected {self.verdict.fingerprints}, which the paper's test draws, to"
                f" {most}, which the kit has"
            )
        points = self.points[:views]
        return queries(to_unit(points.flatten(0, 1)).view(views, n, *self.image_shape), self.v)

    def shaped(self, answers: Tensor) -> Tensor:
        """Answers ``[n, K]`` to the first of ``questions``, in order, as ``[views, N, 2, K]``.

        Raises:
            AnswersError: they are not whole views, or too few.
        """
        a_view = self.points.shape[1] * 2
        views = len(answers) // a_view
        if len(answers) % a_view or not self.verdict.fingerprints <= views <= len(self.points):
            expected = f"{a_view} for each of {self.verdict.fingerprints} to {len(self.points)} views"
            raise AnswersError.of(f"{len(answers):,} rows", expected)
        return answers.view(views, -1, 2, answers.shape[-1])

    def similarities(self, answers: Tensor) -> np.ndarray:
        """Similarities ``[views]`` to the victim, of raw answers ``[views, N, 2, K]`` to the kit's first
        views."""
        return self.similarities_of([answers])[0]

    def similarities_of(self, answers: Sequence[Tensor]) -> list[np.ndarray]:
        """``similarities`` of several suspects, which go through the encoder together; bit for bit what each
        has by itself."""
        if not answers:
            return []
        suspects, victim = torch.cat([fingerprints(a) for a in answers]), fingerprints(self.victim_answers)
        found = similarities(self.encoder, suspects, torch.cat([victim[: len(a)] for a in answers])).numpy()
        return np.split(found, np.cumsum([len(a) for a in answers])[:-1])

    def judge(self, name: str, scores: np.ndarray) -> Verdict:
        """The verdict on a suspect's similarities; a suspect that is itself a reference is left out of the
        references."""
        others = np.array([i != name for i in self.reference_ids], dtype=bool)
        return decide(scores, self.references[others], self.verdict, derive(self.seed, "verdict", name))

    def score(self, name: str, suspect: BlackBox) -> tuple[np.ndarray, Verdict]:
        """Ask a suspect all questions and judge it: its similarities ``[views]`` and the verdict."""
        return self.score_answers(name, ask(suspect, self.questions()))

    def score_answers(self, name: str, answers: Tensor) -> tuple[np.ndarray, Verdict]:
        """Judge a suspect by its answers to ``questions``; bit for bit as ``score``.

        Args:
            name: the suspect's; the random draws of the t-test depend on it.
            answers: probabilities float32 ``[views, N, 2, K]``, to all views, or at least to as many as the
                test draws.

        Raises:
            AnswersError: the answers have another form.
        """
        views = min(max(len(answers), self.verdict.fingerprints), len(self.points)) if answers.ndim else 0
        check_answers(answers, (views, *self.victim_answers.shape[1:]))
        scores = self.similarities(answers)
        return scores, self.judge(name, scores)

    @property
    def trial(self) -> str:
        """A warning not to accuse anybody by this kit, if a trial recipe made it; see
        :func:`zooaudit.recipes.named.trial`."""
        return _made_by(self.facts)["trial"]

    @property
    def caution(self) -> str:
        """The caution for each verdict: how often this kit accused innocent look-alikes."""
        accused, of = self.facts.get("accused", {}).get(str(Role.LOOK_ALIKE), [0, 0])
        return (
            f"the paper's test accused {accused} of {of} innocent look-alikes (models extracted from somebody"
            " else's victim): 'piracy' alone is not evidence of theft from you"
        )


def answers_digest(answers: Tensor) -> str:
    """SHA-256 of raw answers ``[views, N, 2, K]`` as little-endian float32, to identify the answers of a
    verdict."""
    return hashlib.sha256(answers.detach().cpu().contiguous().numpy().astype("<f4").tobytes()).hexdigest()


def made_by(kit: Artifact) -> dict[str, str]:
    """Recipe and data set of a stored kit, "" if unknown, and ``trial`` as in :class:`Kit`."""
    return _made_by(kit.meta.get("facts"))


def _made_by(facts: Any) -> dict[str, str]:
    stated = facts.get("recipe") if isinstance(facts, dict) else None
    name, dataset = (
        (str(stated.get(key) or "") for key in ("name", "dataset")) if isinstance(stated, dict) else ("", "")
    )
    return {"recipe": name, "dataset": dataset, "trial": trial(name, dataset)}


def save_kit(artifacts: Artifacts, kit: Kit) -> Artifact:
    """Store a kit under the digest of its content and settings."""
    tensors = {"v": kit.v, "points": kit.points, "victim_answers": kit.victim_answers}
    tensors |= {f"encoder.{k}": t for k, t in kit.encoder.state_dict().items()}
    tensors |= tensors_of(kit.twin_test)
    table = pa.table(
        {"model": list(kit.reference_ids), "similarities": [row.tolist() for row in kit.references]},
        schema=REFERENCE_SCHEMA,
    )
    meta = {
        "victim": kit.victim,
        "encoder": asdict(kit.encoder_config),
        "verdict": asdict(kit.verdict),
        "twin_test": described(kit.twin_test),
        "seed": kit.seed,
        "facts": kit.facts,
    }
    files = {TENSORS: tensors_to_bytes(tensors), REFERENCES: table_to_bytes(table)}
    return artifacts.save_by_digest(KIND, files, _plain(meta))


def load_kit(artifacts: Artifacts, id_: str) -> Kit:
    """Read a kit by its id, or the start of it; see ``find_kit``."""
    return read_kit(find_kit(artifacts, id_))


def find_kit(artifacts: Artifacts, id_: str) -> Artifact:
    """A kit's artifact by its id, or by the start of it if that is unique.

    Raises:
        UnknownNameError: no kit, or more than one, has that id.
    """
    return artifacts.named(KIND, id_, "'zooaudit audit'")


def read_kit(artifact: Artifact) -> Kit:
    """Read the kit in an artifact.

    Raises:
        DamagedArtifactError: a file does not match its manifest.
    """
    meta, tensors = artifact.meta, artifact.tensors(TENSORS)
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["encoder"].items()}
    config = EncoderConfig(**settings)
    answers = tensors["victim_answers"]
    encoder = Encoder(answers[0].numel(), config)
    encoder.load_state_dict(
        {k.removeprefix("encoder."): t for k, t in tensors.items() if k.startswith("encoder.")}
    )
    rows = artifact.table(REFERENCES, REFERENCE_SCHEMA)
    return Kit(
        victim=meta["victim"],
        v=tensors["v"],
        points=tensors["points"],
        victim_answers=answers,
        encoder=encoder.eval().requires_grad_(False),
        encoder_config=config,
        reference_ids=tuple(rows.column("model").to_pylist()),
        references=np.array(rows.column("similarities").to_pylist(), dtype=np.float32),
        verdict=VerdictConfig(**meta["verdict"]),
        seed=meta["seed"],
        twin_test=read_test(tensors, meta["twin_test"]),
        facts=meta["facts"],
    )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
