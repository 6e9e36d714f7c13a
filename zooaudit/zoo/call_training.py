"""A program: call the owner's training function once, and write the weights of the returned model.

    python -m zooaudit.zoo.call_training FUNCTION SEED THREADS DATA OUT

DATA is a safetensors file of ``images`` and ``labels``, or "-" for a function that reads its own. A separate
process isolates the function: its settings of torch end with it, it can be ended at a time limit, and its
crash does not end a worker. An exception is printed in full, and its first line with its type is written to
``OUT.reason``.
"""

import random
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zooaudit.errors import first_line
from zooaudit.zoo.procedure import imported


def main(function: str, seed: int, threads: int, data: str, out: Path) -> int:
    """Train, and write the weights; returns the exit code."""
    torch.set_num_threads(threads)
    try:
        train = imported(function)
        given = [] if data == "-" else [load_file(data)[name] for name in ("images", "labels")]
        random.seed(seed)  # in case the function forgets to seed; anything else is up to it
        np.random.seed(seed)
        torch.manual_seed(seed)
        save_file(weights_of(train(*given, seed=seed)), out)
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's code may raise anything
        traceback.print_exc()
        reason = first_line(error)
        result = reason if reason == type(error).__name__ else f"{type(error).__name__}: {reason}"
        out.with_suffix(".reason").write_text(result[:500], encoding="utf-8", errors="replace")
        return 1
    return 0


def weights_of(made: object) -> dict[str, Tensor]:
    """A module's state as contiguous CPU tensors that share no memory.

    Raises:
        TypeError: it is not a module, or its state holds something else than tensors.
    """
    if not isinstance(made, nn.Module):
        raise TypeError(f"it returned a {type(made).__name__}; expected a torch.nn.Module")
    state = made.state_dict()
    if other := sorted(name for name, value in state.items() if not isinstance(value, Tensor)):
        raise TypeError(
            f"its model's state holds {other[0]}, which is a {type(state[other[0]]).__name__}; expected"
            " tensors only"
        )
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


if __name__ == "__main__":
    name, seed, threads, data, out = sys.argv[1:]
    sys.exit(main(name, int(seed), int(threads), data, Path(out)))
