"""Audits as Ray jobs on three raylets: same verdicts as anywhere, exit codes, logs, and
nothing lost to a stop or a lost node."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.seaweed import Seaweed
from tests.support.finished import MODELS, Finished
from tests.support.ray_jobs import (
    audit,
    ended,
    events,
    everything_written,
    fetched,
    hold,
    info,
    queue_log,
    submit,
    verdicts,
    wait_for_models,
)
from tests.support.ray_nodes import Nodes
from zooaudit.cli.main import main
from zooaudit.data.images import Dataset
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.opening import open_store
from zooaudit.storage.runs import begin_run

pytestmark = [pytest.mark.ray, pytest.mark.s3]


@pytest.fixture(scope="module")
def nodes(seaweed: Seaweed) -> Iterator[Nodes]:
    """A head and two nodes; only their own environment has the S3 credentials."""
    cluster = Nodes(seaweed.environment | {"ZOOAUDIT_S3_DEADLINE_S": "20"})
    cluster.add(2)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def serial(finished: Finished) -> dict[str, str]:
    """Verdicts of an undisturbed run in this process."""
    return verdicts(finished.report)


def test_audit_zoo_and_score_give_what_a_local_run_gives(
    nodes: Nodes,
    serial: dict[str, str],
    seaweed: Seaweed,
    bucket: str,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submit(nodes, "audit", *audit(bucket))
    assert info(nodes, "audit")["status"] == "SUCCEEDED" and info(nodes, "audit")["driver_exit_code"] == 0
    assert fetched(bucket, tmp_path / "report") == serial
    result = events(nodes, "audit")
    kinds = [e["event"] for e in result]
    assert kinds[-1] == "done" and "started" in kinds and "models" in kinds and "phase" in kinds
    assert result[-1]["trained"] == str(MODELS) and result[-1]["failed"] == "0"
    assert result[-1]["report"] == f"zooaudit report --store {bucket} --run digits"
    stolen = [m for m in serial if m.startswith("piracy")]
    assert result[-1]["piracy_called_piracy"] == f"{sum(serial[m] == 'piracy' for m in stolen)}/{len(stolen)}"
    assert [e["workers"] for e in queue_log(nodes) if e["event"] == "joined"] == ["2", "2"]

    kept = json.dumps(nodes.ask("/api/jobs/"))
    for secret in (seaweed.secret_key, nodes.token):
        assert secret not in kept
        assert [path for path, text in everything_written(nodes) if secret in text] == []

    submit(nodes, "zoo", "python", "-m", "zooaudit.jobs.zoo", "--recipe", "digits", "--store", bucket)
    assert ended(nodes, "zoo") == 0
    done = events(nodes, "zoo")[-1]
    assert (done["event"], done["trained"], done["models"], done["failed"]) == ("done", "0", str(MODELS), "0")

    (kit,) = open_store(bucket).ids("kit")
    question = ["--store", bucket, "--kit", kit, "--suspect", str(exported)]
    submit(nodes, "score", "python", "jobs/score.py", *question)
    assert ended(nodes, "score") == 0
    done = events(nodes, "score")[-1]
    capsys.readouterr()
    assert main(["score", *question, "--json"]) == 0
    here = json.loads(capsys.readouterr().out)
    assert done["decision"] == here["decision"] and done["queries"] == str(here["queries"])
    assert (done["rank"], done["twins"]) == (str(here["rank"]), str(here["twins"]))


@pytest.mark.long
def test_a_stopped_job_goes_on_where_it_was(
    nodes: Nodes, serial: dict[str, str], bucket: str, tmp_path: Path
) -> None:
    submit(nodes, "stopped", *audit(bucket), wait=False)
    wait_for_models(bucket, 2)
    found = nodes.job("stop", "stopped")
    assert found.returncode == 0 and info(nodes, "stopped")["status"] == "STOPPED", found.stdout
    last = events(nodes, "stopped")[-1]
    assert last["event"] == "stopped" and last["code"] == "130"
    supervisor = next(nodes.folder.glob("1/session_latest/logs/jobs/supervisor-stopped.log")).read_text()
    assert "terminated gracefully" in supervisor, supervisor
    kept = wait_for_models(bucket, 2)
    assert 2 <= len(kept) < MODELS

    submit(nodes, "again", *audit(bucket))
    assert ended(nodes, "again") == 0
    done = events(nodes, "again")[-1]
    assert int(done["trained"]) + int(done["reused"]) == MODELS and int(done["reused"]) >= len(kept)
    assert not {e["model"] for e in queue_log(nodes) if e["event"] == "drawn"} & kept
    assert fetched(bucket, tmp_path) == serial


@pytest.mark.chaos
@pytest.mark.long
def test_a_killed_job_is_taken_up_by_the_next(
    nodes: Nodes, serial: dict[str, str], bucket: str, tmp_path: Path
) -> None:
    """SIGKILL to the driver: nothing of it says goodbye, neither to the store nor to Ray. A job behind it
    gets the room that it had reserved; without that it would wait for longer than ``TIMEOUT_S``."""
    lease = {"ZOOAUDIT_LEASE_SECONDS": "4"}
    submit(nodes, "doomed", *audit(bucket), wait=False, env=lease)
    # Or they finish all while Ray is still noticing that the driver is gone.
    workers, finished = hold(nodes, bucket)
    drivers = nodes.processes("jobs/audit.py")
    submit(nodes, "heir", *audit(bucket), wait=False, env=lease)
    while "models" not in [e["event"] for e in events(nodes, "heir")]:
        time.sleep(0.5)  # it waits for room already
    for driver in drivers:
        driver.kill()
    assert ended(nodes, "doomed") != 0 and info(nodes, "doomed")["status"] == "FAILED"
    for worker in psutil.wait_procs(workers, timeout=10)[1]:
        worker.resume()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "the dead job's workers are still there"
    assert 2 <= len(finished) < MODELS
    assert ended(nodes, "heir") == 0, events(nodes, "heir")
    done = events(nodes, "heir")[-1]
    assert int(done["trained"]) + int(done["reused"]) == MODELS and int(done["reused"]) >= len(finished)
    assert not {e["model"] for e in queue_log(nodes) if e["event"] == "drawn"} & finished
    assert fetched(bucket, tmp_path) == serial
    assert list(open_store(bucket).check()) == []


def test_bad_jobs_end_with_one_line_and_a_code(nodes: Nodes, bucket: str, tmp_path: Path) -> None:
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\nfind = PathFinder.find_spec\nPathFinder.find_spec ="
        " classmethod(lambda cls, name, *more: None if name == 'torch' else find(name, *more))\n"
    )
    bare = nodes.add(1, PYTHONPATH=str(hide))[0]
    jobs = {
        "recipe": (["python", "jobs/audit.py", "--recipe", "none", "--store", bucket], 2, "fmnist-quick"),
        "endpoint": (audit(bucket), 3, "cannot write .probe"),
        "packages": (["python", "-S", *audit(bucket)[1:]], 2, "pip install"),
        "node": (audit(bucket), 2, "lacks torch"),
    }
    environment = {"endpoint": {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "ZOOAUDIT_S3_DEADLINE_S": "2"}}
    try:
        for name, (command, _, _) in jobs.items():
            submit(nodes, name, *command, wait=False, env=environment.get(name))
        for name, (_, code, says) in jobs.items():
            assert ended(nodes, name) == code, (name, info(nodes, name))
            last = events(nodes, name)[-1]
            assert last["event"] == "error" and last["code"] == str(code) and says in last["message"], last
    finally:
        nodes.kill_node(bare)


def test_a_run_name_that_stands_for_something_else_is_refused_with_the_difference(
    nodes: Nodes, digits: Dataset, bucket: str
) -> None:
    begin_run(open_store(bucket), "mine", DIGITS, digits.digest, None)
    submit(nodes, "taken", *audit(bucket, "--run", "mine", "--seed", "7"))
    assert ended(nodes, "taken") == 2
    assert "recipe.seed: 0 there, 7 asked" in events(nodes, "taken")[-1]["message"]


@pytest.mark.chaos
# Ray takes a while to count a new node in.
@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "not replaced"])
@pytest.mark.long
def test_a_killed_node_costs_no_finished_model(
    replaced: bool, nodes: Nodes, serial: dict[str, str], bucket: str, tmp_path: Path
) -> None:
    """The group of two comes back with what is there; what the lost node had claimed is done by another."""
    name = f"killed-{'replaced' if replaced else 'alone'}"
    submit(nodes, name, *audit(bucket), wait=False)
    workers, finished = hold(nodes, bucket)
    nodes.kill_node(nodes.nodes[-1])
    killed = time.time()
    for worker in psutil.wait_procs(workers, timeout=1)[1]:
        worker.resume()
    assert 2 <= len(finished) < MODELS
    if replaced:
        nodes.add(1)
    assert ended(nodes, name) == 0, events(nodes, name)
    print(f"done {time.time() - killed:.0f} s after the node was killed")
    result = queue_log(nodes)
    drawn = [e["model"] for e in result if e["event"] == "drawn"]
    assert {m: drawn.count(m) for m in finished} == dict.fromkeys(finished, 1)
    assert len(set(drawn)) == MODELS and len(drawn) > MODELS, (
        "the model in the lost node's hands was not drawn again"
    )
    sizes = [e["workers"] for e in result if e["event"] == "joined"]
    assert sizes[:2] == ["2", "2"] and len(sizes) > 2
    assert replaced or sizes[2:] == ["1"]
    assert events(nodes, name)[-1]["failed"] == "0"
    assert fetched(bucket, tmp_path) == serial
    assert list(open_store(bucket).check()) == []
