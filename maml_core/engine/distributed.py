"""Data parallelism over tasks: each process computes its share of the meta-gradient, and an all-reduce averages them.

Every process draws the whole meta-batch from the same generator, which costs next to nothing, and keeps its own part. So
theta is always the same in all processes, and the same as in a single-process run.
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
    """The part of the meta-batch that belongs to process `rank` of `world`; by default there is only one process."""

    rank: int = 0
    world: int = 1

    def part(self, episodes: Episodes) -> Episodes:
        """This process's tasks: [T, ...] -> [T / world, ...]."""
        size = len(episodes) // self.world
        return episodes[self.rank * size : (self.rank + 1) * size]

    def check(self, meta_batch: int) -> None:
        """Raise ValueError if the tasks of a meta-batch cannot be divided evenly."""
        if meta_batch % self.world:
            raise ValueError(
                f"{meta_batch} tasks cannot be divided evenly among {self.world} processes: "
                f"choose a --meta-batch that is a multiple of {self.world}, or another --nproc-per-node."
            )

    def average(self, gradient: Weights, losses: Tensor) -> tuple[Weights, Tensor]:
        """All-reduce: the mean of the processes' gradients and all losses [T], the same in every process.

        Raises ConnectionError if another process has exited.
        """
        if self.world == 1:
            return gradient, losses
        flat = torch.cat([g.flatten() for g in gradient.values()])
        gathered = [torch.empty_like(losses) for _ in range(self.world)]
        with _peer_failure_as_connection_error():
            dist.all_reduce(flat)
            dist.all_gather(gathered, losses)
        parts = (flat / self.world).split([g.numel() for g in gradient.values()])
        return {name: p.view(g.shape) for (name, g), p in zip(gradient.items(), parts)}, torch.cat(gathered)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all processes get the same answer, at the same meta-iteration."""
        if self.world == 1:
            return flag
        device = f"cuda:{torch.cuda.current_device()}" if dist.get_backend() == "nccl" else "cpu"
        count = torch.tensor(int(flag), device=device)
        with _peer_failure_as_connection_error():
            dist.all_reduce(count)
        return bool(count)

    @contextmanager
    def rank0_first(self) -> Iterator[None]:
        """Run the block in process 0 before the others: it downloads a file, and they find it on disk."""
        if self.world > 1 and self.rank > 0:
            _barrier()
        yield
        if self.world > 1 and self.rank == 0:
            _barrier()


def _barrier() -> None:
    with _peer_failure_as_connection_error():
        dist.barrier()


@contextmanager
def _peer_failure_as_connection_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no more specific error for a closed connection
        raise ConnectionError(
            "Another process of this training run has exited: see its error message, then continue with --resume, on as "
            "many processes as are available."
        ) from error


def join(device: str) -> tuple[Shard, str]:
    """This process's shard and device ("cuda:1") if `torchrun` started it; else a single shard and `device` itself."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Shard(), device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    # This module's functions have the process group as a default argument, namely the one that exists when torch.compile
    # imports them. They would keep it alive after `leave`, and its threads can abort a process that is about to exit.
    from torch.distributed.nn import functional  # noqa: F401

    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Shard(dist.get_rank(), world), device


def leave(wait: bool = True) -> None:
    """Leave the process group, if there is one.

    wait: for the other processes, since with gloo a process aborts if a peer exits in the middle of a communication.
    After an error don't: a peer that has failed never reaches the barrier.
    """
    if dist.is_available() and dist.is_initialized():
        if wait:
            _barrier()
        dist.destroy_process_group()
