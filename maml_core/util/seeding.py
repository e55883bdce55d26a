"""Random generators that start from a seed."""

import torch


def seeded_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that starts from `seed`; ValueError for one that torch would reject or reinterpret."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2**63 - 1, not {seed}.")
    return torch.Generator(device).manual_seed(seed)
