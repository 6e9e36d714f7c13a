"""cluster/Dockerfile, start-node.sh and the `ray up` files: pinned, unprivileged, complete,
accepted by Ray's own validator."""

import fnmatch
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.support.manifests import CLUSTER, GUIDE, PINNED, environment, lineage, pods, stages
from tests.support.places import ROOT
from tests.support.requirements import PROJECT, TARGETS, TORCHS_OWN, installed_by
from zooaudit.cli.main import make_parser
from zooaudit.training.cluster import QUIET

LAUNCHERS = pytest.mark.parametrize("name", ["ray-up.yaml", "ray-up-aws.yaml"])


def test_base_image_is_pinned_to_a_python_that_is_supported() -> None:
    (base,) = {stage.base for stage in stages().values()} - set(stages())
    assert "ARG PYTHON=python:" in (CLUSTER / "Dockerfile").read_text(), "--build-arg PYTHON= pins a digest"
    version = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-bookworm(@sha256:[0-9a-f]{64})?", base)
    assert version, f"{base} may change under us"
    assert version[1] in SpecifierSet(PROJECT["requires-python"])


@TARGETS
def test_image_ends_as_the_user_that_the_pods_run_as(target: str) -> None:
    last = stages()[target].steps[-1]
    assert last[0] == "USER"
    uid, gid = last[1].split(":")
    assert int(uid) > 0
    for pod in pods():
        assert (pod.spec["securityContext"]["runAsUser"], pod.spec["securityContext"]["runAsGroup"]) == (
            int(uid),
            int(gid),
        )
    assert any(f"--uid {uid}" in run for run in stages()["base"].all("RUN")), (
        "Ray and torch look their user up in /etc/passwd"
    )


@TARGETS
def test_every_package_is_pinned_and_all_but_torch_without_cuda_by_hash(target: str) -> None:
    runs = [run for stage in lineage(target) for run in stage.all("RUN")]
    installs = [line.strip() for run in runs for line in run.split("&&") if "pip install" in line]
    hashed = f"pip install --no-deps --require-hashes -r {target}.txt"
    torchs = (
        "pip install --no-deps -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch"
        " torchvision"
    )
    own = "pip install --no-deps --no-build-isolation ."
    assert installs == [hashed, *([torchs] if target == "cpu" else []), own]
    assert environment(target)["PIP_NO_CACHE_DIR"] == "1"


def test_every_package_of_the_image_is_in_the_tested_set() -> None:
    extras = [
        re.findall(r"--extra (\w+)", line)
        for run in stages()["requirements"].all("RUN")
        for line in run.split("&&")
        if "export" in line
    ]
    assert extras == [["cluster", "serve"]] * 2
    asked = [line for name in ("cluster", "serve") for line in PROJECT["optional-dependencies"][name]]
    needed = installed_by(PROJECT["dependencies"] + asked)
    assert {"ray", "torch", "aiohttp", "prometheus-client", "fastapi", "uvicorn"} <= needed.keys()
    ours = {name for name in needed if not name.startswith(TORCHS_OWN)}
    assert ours <= PINNED.keys(), f"constraints.txt lacks {ours - PINNED.keys()}"


@TARGETS
def test_copied_paths_exist_and_are_sent_to_the_builder(target: str) -> None:
    rules = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    sent = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = [
        path
        for stage in lineage(target)
        for line in stage.all("COPY")
        if "--from=" not in line
        for path in line.split()[:-1]
    ]
    assert {"zooaudit", "jobs", "README.md"} <= set(copied)
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(fnmatch.fnmatch(path, rule) or path.startswith(f"{rule}/") for rule in sent), path


@TARGETS
def test_image_sets_what_ray_reads_when_a_node_starts(target: str) -> None:
    assert {k: v for k, v in QUIET.items() if k != "RAY_DEDUP_LOGS"}.items() <= environment(target).items()


def test_dependencies_do_not_depend_on_the_sources() -> None:
    for name in ("packages-cpu", "packages-cuda"):
        copied = [line for stage in lineage(name) for line in stage.all("COPY")]
        assert "zooaudit zooaudit" not in copied, "every change of a source file would install torch again"


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A home with a token, S3 settings, and a `ray` that says how it was called."""
    ray = tmp_path / "zooaudit-env" / "bin" / "ray"
    ray.parent.mkdir(parents=True)
    ray.write_text('#!/bin/sh\necho "$@"\nenv\n')
    ray.chmod(0o755)
    for path, text in (
        (".ray/auth_token", "token-of-a-test"),
        (".config/zooaudit/s3.env", "AWS_REGION=somewhere\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}


def start_node(machine: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CLUSTER / "start-node.sh", *args], env=machine, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("head",), "start --head --port=6379 --dashboard-host=127.0.0.1 --metrics-export-port=8080"),
        (
            ("worker", "10.0.0.1", "--block"),
            "start --address=10.0.0.1:6379 --metrics-export-port=8080 --block",
        ),
        (("worker", "10.0.0.1:7000"), "start --address=10.0.0.1:7000 --metrics-export-port=8080"),
    ],
)
def test_node_starts_with_the_token_and_the_stores_settings(
    machine: dict[str, str], args: tuple[str, ...], expected: str
) -> None:
    found = start_node(machine, *args)
    assert found.returncode == 0, found.stderr
    command, *rest = found.stdout.splitlines()
    assert command == expected
    assert {"RAY_AUTH_MODE=token", "AWS_REGION=somewhere"} | {
        f"{k}={v}" for k, v in QUIET.items() if k != "RAY_DEDUP_LOGS"
    } <= set(rest)
    assert any(line.startswith(f"PATH={machine['HOME']}/zooaudit-env/bin:") for line in rest), (
        "jobs would run another python"
    )
    assert "token-of-a-test" not in found.stdout


@pytest.mark.parametrize(
    ("args", "remove", "message"),
    [
        ((), "", "expected head or worker"),
        (("worker",), "", "needs the head's address"),
        (("head",), ".ray/auth_token", "no token"),
        (("head",), "zooaudit-env/bin/ray", "install zooaudit"),
    ],
)
def test_node_does_not_start_half_configured(
    machine: dict[str, str], args: tuple[str, ...], remove: str, message: str
) -> None:
    if remove:
        (Path(machine["HOME"]) / remove).unlink()
    found = start_node(machine, *args)
    assert found.returncode == 2
    assert found.stdout == ""
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1


def launcher(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CLUSTER / name).read_text())
    return found


@LAUNCHERS
def test_ray_up_file_is_accepted_by_ray(name: str) -> None:
    validate_config(prepare_config(launcher(name)))


@LAUNCHERS
def test_ray_up_file_with_a_misspelt_field_is_refused(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="worker_start_commands"):
        validate_config(prepare_config(launcher(name) | {"worker_start_commands": []}))


@LAUNCHERS
def test_ray_up_brings_packages_token_and_settings_and_starts_nodes_with_our_script(name: str) -> None:
    found = launcher(name)
    assert set(found["file_mounts"]) == {
        "~/zooaudit.tar.gz",
        "~/.ray/auth_token",
        "~/.config/zooaudit/s3.env",
    }
    assert all(there == here or there == f"~/{here}" for there, here in found["file_mounts"].items())
    for role in ("head", "worker"):
        stop, start = found[f"{role}_start_ray_commands"]
        assert stop.endswith("ray stop")
        assert f"start-node.sh {role} " in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in found["head_start_ray_commands"][1]
    commands = "\n".join(
        [*found["setup_commands"], *found["head_start_ray_commands"], *found["worker_start_ray_commands"]]
    )
    for path in re.findall(r"~/zooaudit/([\w./-]+)", commands):
        assert (ROOT / path).exists(), path
    assert "-c constraints.txt '.[cluster,serve]'" in commands


def test_ray_up_tarball_is_not_committed_nor_sent_with_jobs() -> None:
    archive = re.search(r"git archive \S+ --output=(\S+) HEAD", GUIDE)
    assert archive
    assert f"/{archive[1]}" in (ROOT / ".gitignore").read_text().splitlines(), (
        "ray job submit leaves out what git ignores"
    )
    assert launcher("ray-up.yaml")["file_mounts"]["~/zooaudit.tar.gz"] == archive[1]


def guide_commands() -> list[str]:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL))
    return [line.split("  #")[0].strip() for line in blocks.replace("\\\n", " ").splitlines()]


def test_guides_commands_parse_and_name_files_that_exist() -> None:
    ours = [shlex.split(c) for c in guide_commands() if re.match(r"(\.venv/bin/)?zooaudit ", c)]
    jobs = [shlex.split(c.partition(" -- ")[2]) for c in guide_commands() if "ray job submit" in c]
    assert len(ours) >= 2
    assert len(jobs) >= 3
    for command in ours:
        make_parser().parse_args(command[1:])
    for python, script, *args in jobs:
        assert python == "python"
        assert (ROOT / script).is_file()
        assert make_parser().parse_args([Path(script).stem, *args]).workers, (
            "a cluster scaled to zero has nothing to count"
        )
    for path in re.findall(r"(?<![\w/.-])cluster/[\w./-]+", "\n".join(guide_commands())):
        assert (ROOT / path.rstrip(".")).exists(), path


def test_guides_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", GUIDE):
        assert target.startswith("https://") or (CLUSTER / target).exists(), target
