"""The image of cluster/Dockerfile, built without Docker or a registry: buildah in a chroot, on a base that
debootstrap makes under the name in the Dockerfile."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.places import ROOT

TOOLS = ("buildah", "debootstrap", "chroot", "mount", "apt-get")
DOCKERFILE = ROOT / "cluster" / "Dockerfile"
PACKAGES = "python3,python3-pip,python-is-python3,ca-certificates"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
BOUND = ("proc", "dev", "tmp")
"""What a container shares with this machine."""
USER = 1000
"""Id of the user that the image's programs run as."""
DEBIAN = "bookworm"
"""As the base that the Dockerfile names."""


def no_image_tools() -> str:
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        return f"no {' and no '.join(missing)} here: apt-get install buildah debootstrap"
    return "" if os.geteuid() == 0 else "only root can make a base image and enter it"


def run(*command: str | Path) -> str:
    """Run to the end; returns standard output."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


def make_base(folder: Path) -> None:
    """Make an image of Debian and its Python under the name that the Dockerfile begins with; one that is
    there from an earlier run is taken as it is."""
    found = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found is not None
    name = f"docker.io/library/{found[1]}"
    if subprocess.run(["buildah", "inspect", "--type", "image", name], capture_output=True).returncode == 0:
        return
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, folder, mirror())
    for marker in folder.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()  # the official image's pip installs without asking, too
    for path in (CERTIFICATES, "etc/pip.conf"):  # how this machine reaches a package index
        if (source := Path("/") / path).is_file():
            shutil.copy(source, folder / path)
    container = run("buildah", "from", "scratch")
    run("buildah", "add", "--quiet", container, folder, "/")
    run("buildah", "commit", "--quiet", "--rm", container, name)
    shutil.rmtree(folder)


def mirror() -> str:
    """Where apt-get of this machine finds Debian."""
    lines = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {DEBIAN}")), "")


def build(target: str, tag: str) -> str:
    """Build the Dockerfile as cluster/README.md says; returns the tag."""
    how = ["--layers", "--isolation", "chroot", "--format", "docker", "--build-arg", "DATASET=digits"]
    run("buildah", "bud", *how, "--target", target, "-t", tag, "-f", DOCKERFILE, ROOT)
    return tag


@contextmanager
def entered(tag: str) -> Iterator[list[str]]:
    """The command before a command that is to run in a container of the image, as its user. It sees this
    machine's processes, network and /tmp."""
    container = run("buildah", "from", "--pull-never", tag)
    root = Path(run("buildah", "mount", container))
    try:
        for name in BOUND:
            run("mount", "--rbind", f"/{name}", root / name)
            run("mount", "--make-rslave", root / name)
        yield ["chroot", f"--userspec={USER}:{USER}", str(root), "env", "HOME=/home/zooaudit"]
    finally:
        for name in reversed(BOUND):
            subprocess.run(["umount", "--recursive", "--lazy", str(root / name)], check=False)
        run("buildah", "rm", container)
