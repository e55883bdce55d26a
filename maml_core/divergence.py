"""When a meta-gradient is no longer a number: stop with a sentence, before anything bad is written down."""

from pathlib import Path

from torch import Tensor

from .engine import MetaTrainer
from .recipes import Recipe

# On a GPU every look waits for it, so that it is looked at once in so many meta-iterations.
GPU_EVERY = 100


class Diverged(ValueError):
    """The loss or the meta-gradient became infinite or not a number."""


def check_finite(recipe: Recipe, trainer: MetaTrainer, losses: Tensor, kept: int | None, out: Path) -> None:
    """Raise Diverged if one of the last losses, or theta after them, is not finite.

    kept: the meta-iteration of the last good checkpoint in `out`, None where there is none.
    """
    if losses.is_cuda and trainer.iteration % GPU_EVERY >= len(losses):
        return
    # A sum is finite only if all of it is: one look in the usual case, which a fast meta-iteration can spare.
    if (losses.sum() + sum(w.sum() for w in trainer.theta.values())).isfinite():
        return
    bad = (~losses.isfinite()).nonzero().flatten()
    if not len(bad) and all(bool(w.isfinite().all()) for w in trainer.theta.values()):
        return
    at = trainer.iteration - (len(losses) - int(bad[0]) - 1 if len(bad) else 0)
    what = "loss" if len(bad) else "meta-gradient"
    keeps = f"The last good checkpoint, of meta-iteration {kept:,}, is in {out}." if kept else "No checkpoint was written yet."
    raise Diverged(
        f"The {what} of {recipe.name} is no longer finite at meta-iteration {at:,}: the inner step alpha = {recipe.alpha} "
        f"is most likely too large. Lower --alpha, or clip the meta-gradient with --clip 10. {keeps}"
    )
