"""Several processes, one meta-batch: each takes the gradient of its own tasks, and the gradients are added up.

Every process draws the whole meta-batch from the same generator, which costs next to nothing, and keeps its share.
Then all hold the same theta at all times, and it is the theta that a single process would have.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ..episodes import Episodes
from ..networks import Weights


@dataclass(frozen=True)
class Shard:
    """One of `world` processes, counted from 0; the only one of 1 by default."""

    rank: int = 0
    world: int = 1

    def part(self, episodes: Episodes) -> Episodes:
        """This process's tasks: [T, ...] -> [T / world, ...]."""
        size = len(episodes) // self.world
        return episodes[self.rank * size : (self.rank + 1) * size]

    def check(self, meta_batch: int) -> None:
        """ValueError if the tasks of a meta-batch cannot be dealt out evenly."""
        if meta_batch % self.world:
            raise ValueError(
                f"{meta_batch} tasks cannot be shared evenly by {self.world} processes: "
                "choose a --meta-batch that is a multiple, or another --nproc-per-node."
            )

    def average(self, gradient: Weights, losses: Tensor) -> tuple[Weights, Tensor]:
        """The mean of all processes' gradients, and all their losses [T], the same in every process.

        Raises ConnectionError when another process has ended.
        """
        if self.world == 1:
            return gradient, losses
        flat = torch.cat([g.flatten() for g in gradient.values()])
        everyones = [torch.empty_like(losses) for _ in range(self.world)]
        with _others_may_be_gone():
            dist.all_reduce(flat)
            dist.all_gather(everyones, losses)
        parts = (flat / self.world).split([g.numel() for g in gradient.values()])
        return {name: p.view(g.shape) for (name, g), p in zip(gradient.items(), parts)}, torch.cat(everyones)

    def any(self, here: bool) -> bool:
        """Whether it is so in any of the processes: all get the same answer, at the same meta-iteration."""
        if self.world == 1:
            return here
        device = f"cuda:{torch.cuda.current_device()}" if dist.get_backend() == "nccl" else "cpu"
        flag = torch.tensor(int(here), device=device)
        with _others_may_be_gone():
            dist.all_reduce(flag)
        return bool(flag)

    @contextmanager
    def first_one_first(self) -> Iterator[None]:
        """Process 0 goes through the block before the others: it downloads, they find the file."""
        if self.world > 1 and self.rank > 0:
            dist.barrier()
        yield
        if self.world > 1 and self.rank == 0:
            dist.barrier()


@contextmanager
def _others_may_be_gone() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that torch says of a closed connection
        raise ConnectionError(
            "Another process of this training has ended: see what it said, then go on with --resume, with as many "
            "processes as there are."
        ) from error


def join(device: str) -> tuple[Shard, str]:
    """This process's shard and its device ("cuda:1"), where `torchrun` started it; else the only one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Shard(), device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Shard(dist.get_rank(), world), device


def leave(together: bool = True) -> None:
    """Part from the other processes, where there are any.

    together: wait for them first. gloo aborts a process that goes while another one still talks to it; but where
    something went wrong, another one may never come.
    """
    if dist.is_available() and dist.is_initialized():
        if together:
            dist.barrier()
        dist.destroy_process_group()
