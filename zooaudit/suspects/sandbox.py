"""Ask a stranger's model file in a process of its own. Its memory, time and disk are limited, it does not see
our environment, and it has no network if the system lets a process give it up. If the process dies, the file
is refused.

It runs as our user: through a bug in onnxruntime or torch, a file could read what that user can read.
"""

import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooaudit.errors import ModelError

if TYPE_CHECKING:
    # For types only: torch starts threads, and a process with threads cannot give up its network.
    from torch import Tensor

QUESTIONS, ASKED, ANSWERS, RESULT = "questions.safetensors", "asked.json", "answers.safetensors", "said.json"
KINDS = (".onnx", ".safetensors")
NEW_USER, NEW_NET = 0x10000000, 0x40000000
"""Flags of Linux's unshare: root in a user namespace of its own can have a network of its own, which leads
nowhere."""
NO_NEW_PRIVILEGES = 38
WRITTEN_BYTES = 256 * 2**20
BATCH = 64


@dataclass(frozen=True)
class Limits:
    """Limits for one model.

    Attributes:
        seconds: in all, including the start of the process.
        memory_bytes: beyond what the process needs once its libraries are loaded.
    """

    seconds: float = 45.0
    memory_bytes: int = 2 * 2**30


@dataclass(frozen=True)
class Sandbox:
    """How a file is asked: its ending gives its kind; weights go into a named timm or torchvision net, and
    into no other code.

    Attributes:
        described: whether the interface was described, so that its values are taken as they are.
    """

    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    factory: str = ""
    described: bool = False


def ask(path: Path, images: "Tensor", how: Sandbox, limits: Limits = Limits()) -> "Tensor":
    """Load the model in ``path``, alone in its folder, and return its answers to float images ``[n, c, h,
    w]``: float32 ``[n, K]``.

    Raises:
        ModelError: it cannot be loaded or asked, or takes too much.
    """
    from safetensors.torch import load_file, save_file

    from zooaudit.suspects.named_nets import is_named

    if path.suffix not in KINDS:
        raise ModelError(f"{path.name} is not a supported model file; expected {' or '.join(KINDS)}")
    if path.suffix == ".safetensors" and not is_named(how.factory):
        raise ModelError(
            f"weights go into a named net, and this is {how.factory or 'none'!r}; expected timm:NAME or"
            " torchvision:NAME"
        )
    folder = path.parent
    save_file({"images": images.contiguous()}, folder / QUESTIONS)
    (folder / ASKED).write_text(
        json.dumps(
            {"file": path.name, "memory": limits.memory_bytes, "seconds": limits.seconds, **asdict(how)}
        )
    )
    _run(folder, limits)
    result = json.loads((folder / RESULT).read_text()) if (folder / RESULT).is_file() else {"error": ""}
    if "error" in result:
        text = result["error"].replace(f"{folder}/", "")
        most = f"{limits.memory_bytes >> 20} MiB or {limits.seconds:g} s"
        raise ModelError(
            text
            or f"the process that asked {path.name} ended before it had answered; expected a model that"
            f" takes no more than {most}"
        )
    # Do not trust the output: a malicious file may have taken over the process.
    answers = load_file(folder / ANSWERS)["answers"].float()
    if answers.shape != (len(images), len(how.classes)) or not answers.isfinite().all():
        raise ModelError(
            f"{path.name} gave answers of shape {tuple(answers.shape)}; expected"
            f" {(len(images), len(how.classes))}, all finite"
        )
    return answers


def _run(folder: Path, limits: Limits) -> None:
    """Run the process until it ends or its time is up."""
    root = str(Path(__file__).parents[2])
    env = {
        "PATH": os.defpath,
        "PYTHONPATH": root,
        "TMPDIR": str(folder),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "2",
        "LANG": "C.UTF-8",
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        cwd=folder,
        env=env,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(limits.seconds)
    except subprocess.TimeoutExpired:
        return
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
        process.wait()


def _alone() -> None:
    """Give up the network and any way to gain rights, before a second thread starts. Steps that the system
    does not allow are skipped."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.unshare(NEW_USER | NEW_NET)
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _limited(memory: int, seconds: float) -> None:
    own = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if sys.platform == "linux"
        else 0
    )
    most = {
        resource.RLIMIT_CPU: int(2 * seconds) + 1,
        resource.RLIMIT_FSIZE: WRITTEN_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for which, limit in (most | ({resource.RLIMIT_AS: own + memory} if own else {})).items():
        _, hard = resource.getrlimit(which)
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (least, least))


def _asked(folder: Path, asked: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from zooaudit.suspects.blackbox import TorchBlackBox
    from zooaudit.suspects.load import Asked, load

    with contextlib.suppress(ImportError):
        import onnxruntime  # noqa: F401  before the limit
    torch.set_num_threads(2)
    images = load_file(folder / QUESTIONS)["images"]
    _limited(asked["memory"], asked["seconds"])
    classes = tuple(asked["classes"])
    how = Asked(tuple(asked["image_shape"]), classes, reading="stated" if asked["described"] else "guess")
    loaded = load(folder / asked["file"], asked["factory"] or None, how)
    black_box = TorchBlackBox(loaded.module, len(classes), asked["file"], how.reading)
    save_file(
        {"answers": torch.cat([black_box.ask(part) for part in images.split(BATCH)]).contiguous()},
        folder / ANSWERS,
    )


def main() -> None:
    """Ask the model in this folder."""
    _alone()
    folder = Path.cwd()
    try:
        _asked(folder, json.loads((folder / ASKED).read_text()))
        result = {"done": ""}
    except Exception as error:  # noqa: BLE001  whatever a stranger's file makes a library raise, MemoryError too
        result = {"error": " ".join(str(error).split())[:500] or type(error).__name__}
    (folder / RESULT).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
