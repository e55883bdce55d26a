"""A short meta-training in front of a reader: a progress bar with its numbers, and an interrupt that keeps what it has."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..engine.trainer import MetaTrainer
from ..util.checks import at_least
from ..util.progress import progress


def meta_train(
    trainer: MetaTrainer, iterations: int, validate: Callable[[], str] | None = None, validate_every: int = 20
) -> Tensor:
    """So many meta-iterations of Algorithm 2; their query losses after adaptation, [iterations].

    validate: what to say beside the loss every so many meta-iterations, such as the accuracy on held-out tasks.
    Interrupt (in Jupyter the black square, in a terminal Ctrl-C) ends it early and without a traceback: theta stays
    where it has got to, and the losses so far are returned.
    """
    at_least(1, iterations=iterations, validate_every=validate_every)
    losses: list[Tensor] = []
    bar, told = progress(None, "meta-training", iterations), ""
    try:
        while len(losses) < iterations:
            losses.append(trainer.step())
            if validate and len(losses) % validate_every == 0:
                told = f", {validate()}"
            bar.set_postfix_str(f"loss {losses[-1]:.3f}{told}", refresh=False)
            bar.update()
    except KeyboardInterrupt:
        print(f"Stopped after {len(losses):,} of {iterations:,} meta-iterations. What was trained is kept.")
    finally:
        bar.close()
    return torch.stack(losses) if losses else torch.empty(0)
