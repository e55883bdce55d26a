"""Seeded random generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def seeded_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded with `seed`. Raises ValueError for a seed that torch would reject or reinterpret."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2**63 - 1, not {seed}.")
    return torch.Generator(device).manual_seed(seed)


def set_generator_state(generator: torch.Generator, state: Tensor, iteration: int) -> None:
    """Continue from a generator's state; or, if it is from another kind of device, from a seed of that meta-iteration.

    CPU and GPU generate different random numbers, from states of different sizes, so that nothing else is possible.
    """
    if len(state) == len(generator.get_state()):
        generator.set_state(state)
    else:
        generator.manual_seed(generator.initial_seed() + iteration)


@contextmanager
def torch_seeded_by(generator: torch.Generator, rank: int = 0, active: bool = True, iteration: int = 0) -> Iterator[None]:
    """Within the block, torch's global randomness, which is all that dropout can use, follows from the generator.

    The generator itself stays where it is, so that tasks that were read ahead of a training stay valid. rank: of the
    process, so that the tasks of several processes draw differently. active: False changes nothing. iteration: of a
    training run, so that each draws anew, even if its tasks leave the generator alone.
    """
    if not active:
        yield
        return
    copied = torch.Generator(generator.device)
    copied.set_state(generator.get_state())
    seed = int(torch.randint(2**62, (), generator=copied, device=generator.device).item()) + (iteration << 20)
    with torch.random.fork_rng([generator.device] if generator.device.type == "cuda" else []):
        torch.manual_seed(seed + rank)
        yield
