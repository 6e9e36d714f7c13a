"""Several processes that train one model together, each on its share of every batch (docs/decisions/0008)."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train one model together. Alone, all methods do nothing.

    With a ``count`` above 1, torch.distributed's default group connects them (gloo, or NCCL if each has its
    own GPU), and all of them must make the same calls in the same order: otherwise the others wait forever.
    """

    rank: int = 0
    count: int = 1

    def share(self, batch: Tensor) -> Tensor:
        """This rank's rows of a batch ``[n, ...]``; the shares differ by one row at most."""
        return batch.tensor_split(self.count)[self.rank]

    def joined(self, model: nn.Module) -> nn.Module:
        """``model`` with rank 0's weights, and after each backward pass the mean of all ranks' gradients."""
        return model if self.count == 1 else nn.parallel.DistributedDataParallel(model)

    def settle(self, model: nn.Module) -> None:
        """Copy rank 0's buffers to every rank: BatchNorm's running statistics, which each rank computes from
        its own share."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the ranks of a number (float ``[]``, on the group's device), the same on each."""
        if self.count > 1:
            dist.all_reduce(value)
        return value / self.count

    def agreed(self, value: float) -> float:
        """Rank 0's value, on every rank."""
        if self.count == 1:
            return value
        result = torch.tensor(
            value, dtype=torch.float64, device="cuda" if dist.get_backend() == "nccl" else "cpu"
        )
        dist.broadcast(result, src=0)
        return result.item()


ALONE = Ranks()
