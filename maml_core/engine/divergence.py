"""Divergence: a loss or a meta-gradient that is no longer finite."""

from torch import Tensor

from ..networks import Weights


class Diverged(ValueError):
    """The loss or the meta-gradient became infinite or NaN."""


def find_divergence(losses: Tensor, theta: Weights, iteration: int) -> tuple[str, int] | None:
    """What is no longer finite, "loss" or "meta-gradient", and since which meta-iteration; None if all is well.

    losses: of the meta-iterations up to `iteration`, after which theta is judged. Waits for a GPU
    """
    # A sum is finite only if every term is, so one check is usually enough, and cheap even for a fast meta-iteration.
    if (losses.sum() + sum(w.sum() for w in theta.values())).isfinite():
        return None
    bad = (~losses.isfinite()).nonzero().flatten()
    if len(bad):
        return "loss", iteration - (len(losses) - int(bad[0]) - 1)
    return None if all(bool(w.isfinite().all()) for w in theta.values()) else ("meta-gradient", iteration)


def check_finite(losses: Tensor, theta: Weights, iteration: int, alpha: float) -> None:
    """Raise Diverged if `find_divergence` finds something."""
    if found := find_divergence(losses, theta, iteration):
        what, at = found
        raise Diverged(
            f"The {what} is no longer finite at meta-iteration {at:,}: lower alpha, which is {alpha}, or MetaUpdate's "
            "learning_rate, or clip the meta-gradient with its clip=10."
        )
