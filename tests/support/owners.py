"""What owners give us: a factory, training functions good and bad, and a script that knows
neither torch nor zooaudit."""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zooaudit.config import OwnTraining
from zooaudit.data.resolve import load_digits
from zooaudit.zoo.procedure import by_command, by_function

FACTORY = "tests.support.owners:make"


def make() -> nn.Module:
    """A linear model of the digits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def train(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """It learns the digits to about .9 in a fraction of a second."""
    print(
        f"seed {seed}: {len(images)} images of {tuple(images.shape[1:])}, {images.dtype}, {labels.dtype},"
        f" threads {torch.get_num_threads()}"
    )
    torch.manual_seed(seed)
    model = make()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(images.float() / 255), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def train_alone(seed: int, rate: float = 1.0) -> nn.Module:
    data = load_digits().train
    return train(data.images, data.labels, seed)


def forgetful(*, seed: int) -> nn.Module:
    """It ignores its seed, but draws from every global generator."""
    model = make()
    with torch.no_grad():
        model[1].bias.copy_(torch.rand(10) + random.random() + float(np.random.rand()))
    return model


def fails(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    raise ValueError("the learning rate is odd\nand here is more about it")


def gives_up(seed: int) -> nn.Module:
    sys.exit("no licence left")


def silent(seed: int) -> nn.Module:
    raise RuntimeError


def another_shape(seed: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))


def not_finite(seed: int) -> nn.Module:
    model = make()
    with torch.no_grad():
        model[1].bias[3] = float("nan")
    return model


def a_dict(seed: int) -> Any:
    return make().state_dict()


def tied(seed: int) -> nn.Module:
    model = nn.Module()
    model.one = nn.Linear(3, 3)
    model.two = model.one
    return model


def crashes(seed: int) -> nn.Module:
    print("about to crash")
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def endless(seed: int) -> nn.Module:
    while True:
        time.sleep(0.1)


def no_seed(images: Tensor, labels: Tensor) -> nn.Module:
    raise AssertionError


def one_of_two(images: Tensor, seed: int) -> nn.Module:
    raise AssertionError


def seed_first(seed: int, images: Tensor, labels: Tensor) -> nn.Module:
    raise AssertionError


def anything(*args: Any, **kwargs: Any) -> nn.Module:
    raise AssertionError


A_NUMBER = 3

SCRIPT = """
import json, os, random, struct, subprocess, sys, time

def save(path, tensors):
    header, body = {}, b""
    for name, (shape, values) in tensors.items():
        content = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    header = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + body)

what, seed, out = sys.argv[1:4]
dice = random.Random(int(seed))
good = {"1.weight": ([10, 64], [dice.random() for _ in range(640)]), "1.bias": ([10], [0.0] * 10)}
print("seed", seed, flush=True)
if what == "good":
    save(out, good)
elif what == "fails":
    print("no data there", file=sys.stderr)
    sys.exit(3)
elif what == "fails silently":
    os.execvp("false", ["false"])
elif what == "dies":
    os.kill(os.getpid(), 9)
elif what == "empty":
    open(out, "w").close()
elif what == "pickle":
    open(out, "wb").write(b"\\x80\\x04\\x95" + b"." * 20)
elif what == "text":
    open(out, "w").write("weights to come " * 9)
elif what == "few":
    save(out, {"1.weight": good["1.weight"]})
elif what == "nan":
    save(out, good | {"1.bias": ([10], [float("nan")] * 10)})
elif what == "shape":
    save(out, good | {"1.bias": ([9], [0.0] * 9)})
elif what == "fills":
    with open(out, "wb") as file:
        while True:
            file.write(b"x" * 10**6)
            file.flush()
            time.sleep(0.05)
elif what == "talks":
    for i in range(300000):
        print("line", i)
    save(out, good)
elif what == "hangs":  # and so does a child of it, which ignores being asked to end
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", deaf])
    with open(sys.argv[4] + ".part", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(sys.argv[4] + ".part", sys.argv[4])
    time.sleep(600)
"""


def by_script(folder: Path, what: str, *more: str, timeout_s: float = 60.0) -> OwnTraining:
    """A command that runs the script, which it puts into ``folder``."""
    path = folder / "train.py"
    path.write_text(SCRIPT)
    words = " ".join(f"'{word}'" for word in more)
    return by_command(f"{sys.executable} -I {path} '{what}' {{seed}} {{out}} {words}", FACTORY, timeout_s)


def called(name: str, timeout_s: float = 120.0) -> OwnTraining:
    """The function of this name here."""
    return by_function(f"tests.support.owners:{name}", FACTORY, timeout_s)
