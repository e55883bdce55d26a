"""Interactive meta-training: the same losses as the engine's, and what an interrupt keeps."""

import pytest
import torch

from maml_core.engine import MetaTrainer
from maml_core.recipes import find_recipe
from maml_core.training import meta_train


def small_trainer() -> MetaTrainer:
    recipe = find_recipe("sinusoid-5shot")
    return MetaTrainer(recipe.build_learner(), recipe.build_tasks(), torch.Generator().manual_seed(0), meta_batch=4)


def test_interactive_training_matches_the_engine():
    ours, theirs = small_trainer(), small_trainer()
    assert torch.equal(meta_train(ours, 12), theirs.run(12))
    assert all(torch.equal(w, theirs.theta[name]) for name, w in ours.theta.items())


def test_progress_bar_shows_loss_and_validation(capsys):
    calls = []
    losses = meta_train(small_trainer(), 10, lambda: calls.append(1) or "accuracy 12.3%", validate_every=4)
    assert len(calls) == 2
    bar = capsys.readouterr().err
    assert "10/10" in bar and f"loss {losses[-1]:.3f}, accuracy 12.3%" in bar


def test_interrupt_keeps_progress(monkeypatch, capsys):
    trainer, uninterrupted = small_trainer(), small_trainer()
    step = trainer.step

    def interrupted() -> torch.Tensor:
        if trainer.iteration == 3:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(trainer, "step", interrupted)
    losses = meta_train(trainer, 10)
    assert torch.equal(losses, uninterrupted.run(3))
    assert all(torch.equal(w, uninterrupted.theta[name]) for name, w in trainer.theta.items())
    assert "Stopped after 3 of 10 meta-iterations. Progress so far is kept." in capsys.readouterr().out
    monkeypatch.undo()
    assert torch.equal(meta_train(trainer, 2), uninterrupted.run(2))  # as if nothing had happened


def test_interrupt_in_the_first_step_returns_no_losses(monkeypatch):
    trainer = small_trainer()
    monkeypatch.setattr(trainer, "step", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert meta_train(trainer, 5).shape == (0,)


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"iterations": 1, "validate_every": 0}])
def test_invalid_arguments_are_rejected(arguments):
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        meta_train(small_trainer(), **arguments)
