"""Short meta-training for notebooks: a progress bar with the loss, and an interrupt that keeps the progress so far."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..engine.trainer import MetaTrainer
from ..util.checks import at_least
from ..util.progress import progress


def meta_train(
    trainer: MetaTrainer, iterations: int, validate: Callable[[], str] | None = None, validate_every: int = 20
) -> Tensor:
    """Run meta-iterations of Algorithm 2 and return their query losses after adaptation, [iterations].

    validate: called every `validate_every` meta-iterations; returns text to show beside the loss, such as the accuracy on
    held-out tasks. An interrupt (Jupyter's stop button, or Ctrl-C in a terminal) ends the run early without a traceback:
    theta keeps its progress, and the losses so far are returned. Raises Diverged as `MetaTrainer.run` does.
    """
    at_least(1, iterations=iterations, validate_every=validate_every)
    losses: list[Tensor] = []
    bar, validation = progress(None, "meta-training", iterations), ""
    try:
        while len(losses) < iterations:
            losses.append(trainer.step())
            if validate and len(losses) % validate_every == 0:
                validation = f", {validate()}"
            bar.set_postfix_str(f"loss {losses[-1]:.3f}{validation}", refresh=False)
            bar.update()
    except KeyboardInterrupt:
        print(f"Stopped after {len(losses):,} of {iterations:,} meta-iterations. Progress so far is kept.")
    finally:
        bar.close()
    return torch.stack(losses) if losses else torch.empty(0)
