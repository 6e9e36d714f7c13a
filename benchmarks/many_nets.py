"""Many small nets of one architecture, trained one after the other and as one batch of nets.

    python benchmarks/many_nets.py [--device cuda] [--nets 8] [--repeats 5]

Seconds a net and step (forward, backward, SGD) of 64 images: *one by one*, as the farm trains; *plain*, the
same with PyTorch's own activations and pooling; *batched*, all nets' weights stacked and mapped over by
torch.func. On a CPU these are CPU seconds of one thread. Batched gradients are compared with the plain ones
first. Nets with batch normalisation are trained in float32: mapped over in bfloat16, its backward pass fails.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from measure import save, spread
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, stack_module_state, vmap

from zooaudit.compute import autocast, resolve_precision
from zooaudit.zoo import activations, pooling
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.shape import ModelShape

SHAPES = {
    "A": ModelShape((1, 28, 28), 10, (0.3,), (0.3,), (16, 32), 256),
    "resnet18": ModelShape((3, 32, 32), 10, (0.5,) * 3, (0.25,) * 3, (16,), 256),
}
BATCH, STEPS, LR, TOLERANCE = 64, 10, 0.01, 0.01
Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--nets", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    device, rows = torch.device(args.device), []
    precisions = {"A": resolve_precision("auto", device.type), "resnet18": "float32"}
    for name, precision in precisions.items():
        ways = prepared(name, args.nets, device, precision)
        for repeat in range(args.repeats):
            for way, (step, kernels) in ways.items():
                with kernels():
                    seconds = timed(step, device) / args.nets
                rows.append({"architecture": name, "repeat": repeat, "way": way, "seconds": seconds})
                print(rows[-1], file=sys.stderr)
    body = {"nets": args.nets, "batch": BATCH, "device": args.device, "precisions": precisions}
    save("many_nets", body | {"architectures": {n: summed_up(n, rows) for n in SHAPES}, "rows": rows})


def prepared(name: str, count: int, device: torch.device, precision: str) -> dict[str, tuple[Step, Any]]:
    """Each way to train, and the kernels that it is tried with."""
    nets = [replace_all_batch_norm_modules_(build_architecture(name, SHAPES[name])) for _ in range(count)]
    nets = [net.to(device).to(memory_format=torch.channels_last).train() for net in nets]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, BATCH, *SHAPES[name].image, generator=generator).to(device)
    y = torch.randint(0, 10, (count, BATCH), generator=generator).to(device)
    with plain_kernels():
        compare(nets, x, y)
        batched = stacked_step(nets, x, y, precision)
    alone = alone_step([copy.deepcopy(net) for net in nets], x, y, precision)
    plain = alone_step([copy.deepcopy(net) for net in nets], x, y, precision)
    return {
        "one by one": (alone, ExitStack),
        "plain": (plain, plain_kernels),
        "batched": (batched, plain_kernels),
    }


@contextmanager
def plain_kernels() -> Iterator[None]:
    """PyTorch's own activations and pooling, which torch.func can map over."""
    with (
        patch.object(activations, "_own_kernels", return_value=False),
        patch.object(pooling, "_own_kernel", return_value=False),
    ):
        yield


def compare(nets: list[nn.Module], x: Tensor, y: Tensor) -> None:
    """Raise AssertionError unless nets in a batch have the gradients that they have alone, in float32, to
    a hundredth of their length: batch normalisation magnifies rounding."""
    if any(isinstance(m, nn.Dropout | activations.Dropout) and m.p for net in nets for m in net.modules()):
        return
    gradients = gradients_of(nets, "float32")(*stack_module_state(nets), x, y)
    for i, net in enumerate(nets):
        F.cross_entropy(net(x[i]), y[i]).backward()
        for key, weights in net.named_parameters():
            assert weights.grad is not None
            apart = float((gradients[key][i] - weights.grad).norm())
            assert apart <= TOLERANCE * float(weights.grad.norm()) + 1e-6, (i, key, apart)
        net.zero_grad()


def gradients_of(nets: list[nn.Module], precision: str) -> Callable[..., dict[str, Tensor]]:
    skeleton = copy.deepcopy(nets[0]).to("meta")

    def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        with autocast(precision, x.device):
            logits = functional_call(skeleton, (weights, buffers), (x,))
        return F.cross_entropy(logits.float(), y)

    return vmap(grad(loss), randomness="different")


def stacked_step(nets: list[nn.Module], x: Tensor, y: Tensor, precision: str) -> Step:
    weights, buffers = stack_module_state(nets)
    gradients = gradients_of(nets, precision)
    stepper = torch.optim.SGD(list(weights.values()), LR, 0.9, nesterov=True, fused=True)

    def step() -> None:
        for key, value in gradients(weights, buffers, x, y).items():
            weights[key].grad = value
        stepper.step()

    return step


def alone_step(nets: list[nn.Module], x: Tensor, y: Tensor, precision: str) -> Step:
    steppers = [torch.optim.SGD(net.parameters(), LR, 0.9, nesterov=True, fused=True) for net in nets]

    def step() -> None:
        for i, (net, stepper) in enumerate(zip(nets, steppers, strict=True)):
            with autocast(precision, x.device):
                logits = net(x[i])
            stepper.zero_grad()
            F.cross_entropy(logits.float(), y[i]).backward()
            stepper.step()

    return step


def timed(step: Step, device: torch.device) -> float:
    """Seconds a step, after two to warm up."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for _ in range(2):
        step()
    finish(device)
    started = clock()
    for _ in range(STEPS):
        step()
    finish(device)
    return (clock() - started) / STEPS


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summed_up(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By way: seconds, and how many times as long as one by one, repeat by repeat."""
    mine = [r for r in rows if r["architecture"] == name]
    by = {way: [r["seconds"] for r in mine if r["way"] == way] for way in ("one by one", "plain", "batched")}
    return {
        way: {
            "seconds": spread(found),
            "times_as_long": spread([a / b for a, b in zip(found, by["one by one"], strict=True)]),
        }
        for way, found in by.items()
    }


if __name__ == "__main__":
    main()
