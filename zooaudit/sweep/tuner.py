"""Trials on Ray Tune: in parallel, each actor taking one trial after another. Every
finished trial is in the store at once, so that a sweep which was killed goes on with those
that are missing, on this cluster or another."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from zooaudit.config import digest_of
from zooaudit.errors import ConfigError, InputError, NotEnoughModelsError, StoreError, first_line
from zooaudit.methods import versions_of
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.sweep.evaluate import Field, evaluate
from zooaudit.sweep.field import LineUp
from zooaudit.sweep.result import Row
from zooaudit.sweep.space import Trial
from zooaudit.training.cluster import cluster

KIND = "trial"
METHOD = versions_of("sweep", "studies", "points", "encoder", "verdict")
RESTARTS = 3
"""How often a trial is run again whose actor or node died."""


@dataclass(frozen=True)
class Done:
    """How far a sweep is: trials with a result, read or run."""

    done: int
    total: int


Progress = Callable[[Done], None]


@dataclass(frozen=True)
class Swept:
    """Every trial's result, in order, and how many of them were run now."""

    rows: list[Row]
    ran: int


def trial_id(trial: Trial, line_up: LineUp) -> str:
    """What a trial's result is kept under: changes with the trial, the method, the recipe,
    the data and every model in it."""
    bench = line_up.bench
    models = [s.id for s in (*bench.encoder_models, *line_up.of(trial))]
    return digest_of(
        [METHOD, trial, bench.recipe.digest, bench.dataset.digest, bench.zoo.plan.victim, models]
    )


def run_trials(
    trials: Sequence[Trial], line_up: LineUp, progress: Progress, at_once: int | None = None
) -> Swept:
    """Every trial's result: those that the store holds are read, the others run. If all are
    there, no answers are read.

    Args:
        at_once: trials at a time; None for one a core.

    Raises:
        ConfigError: ``at_once`` is under 1, or the store is in this process's memory, which
            actors cannot reach.
        FarmError: Ray does not start.
        StoreError: results cannot be kept.
    """
    artifacts = line_up.bench.artifacts
    if at_once is not None and at_once < 1:
        raise ConfigError(f"--at-once {at_once}; expected at least 1")
    if artifacts.url == "memory:":
        raise ConfigError(
            "Ray's actors cannot reach a store in this process's memory; use a folder or a bucket"
        )
    ids = [trial_id(t, line_up) for t in trials]
    there = set(artifacts.ids(KIND))
    missing = [(i, t) for i, t in zip(ids, trials, strict=True) if i not in there]
    kept = len(trials) - len(missing)
    progress(Done(kept, len(trials)))
    failed: dict[str, str] = {}
    if missing:
        failed = _run(
            missing,
            line_up.field(),
            artifacts,
            lambda done: progress(Done(kept + done, len(trials))),
            at_once,
        )
    rows = [
        (
            Row(trial, {}, failed[id_])
            if id_ in failed
            else Row(trial, artifacts.load(KIND, id_).meta["metrics"])
        )
        for id_, trial in zip(ids, trials, strict=True)
    ]
    return Swept(rows, len(missing))


def _run(
    missing: list[tuple[str, Trial]],
    field: Field,
    artifacts: Artifacts,
    done: Callable[[int], None],
    at_once: int | None,
) -> dict[str, str]:
    """Run the trials; returns why some failed, by id."""
    held = sum(a.numel() * a.element_size() for a in field.cohort.answers.values())
    failed: dict[str, str] = {}
    # An actor may still write there.
    with (
        tempfile.TemporaryDirectory(prefix="zooaudit-sweep-", ignore_cleanup_errors=True) as scratch,
        cluster(object_store_bytes=4 * held),
        _tune_settings(),
    ):
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(SweepTrial, field=field, store=artifacts.url), {"CPU": 1}
            ),
            param_space={"job": tune.grid_search([{"id": id_, "trial": trial} for id_, trial in missing])},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=at_once),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                verbose=0,
                callbacks=[_Counting(done)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
            ),
        )
        for result in tuner.fit():
            assert result.config is not None
            if result.error is not None:
                cause = getattr(result.error, "cause", None) or result.error
                if isinstance(cause, StoreError):
                    raise StoreError(str(cause))
                failed[result.config["job"]["id"]] = first_line(cause)
            elif refused := (result.metrics or {}).get("refused"):
                failed[result.config["job"]["id"]] = refused
    return failed


@contextmanager
def _tune_settings() -> Iterator[None]:
    """Tune neither takes over Ctrl-C nor moves actors out of the working directory; it
    writes no logs of its own."""
    wanted = {
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class SweepTrial(tune.Trainable):  # type: ignore[misc]
    """One actor: holds the answers, evaluates the trials that it is given, and commits each."""

    def setup(self, config: dict[str, Any], field: Field, store: str) -> None:
        torch.set_num_threads(1)
        self._field, self._artifacts = field, open_store(store)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        job = self.config["job"]
        try:
            metrics = evaluate(self._field, job["trial"])
        except (InputError, NotEnoughModelsError) as error:  # this trial cannot be; the others may
            return {"done": True, "refused": str(error)}
        self._artifacts.save(KIND, job["id"], {}, {"trial": job["trial"], "metrics": metrics})
        return {"done": True, "refused": ""}


class _Counting(tune.Callback):  # type: ignore[misc]
    def __init__(self, done: Callable[[int], None]) -> None:
        self._done, self._count = done, 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._count += 1
        self._done(self._count)

    on_trial_error = on_trial_complete
