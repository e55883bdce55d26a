"""Seeded random generators."""

import torch


def seeded_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded with `seed`. Raises ValueError for a seed that torch would reject or reinterpret."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2**63 - 1, not {seed}.")
    return torch.Generator(device).manual_seed(seed)
