"""A training in front of a reader: the losses that the engine has, and what an interrupt leaves."""

import pytest
import torch

from maml_core.engine import MetaTrainer
from maml_core.recipes import find_recipe
from maml_core.training import meta_train


def small_trainer() -> MetaTrainer:
    recipe = find_recipe("sinusoid-5shot")
    return MetaTrainer(recipe.build_learner(), recipe.build_tasks(), torch.Generator().manual_seed(0), meta_batch=4)


def test_it_is_the_same_training():
    ours, theirs = small_trainer(), small_trainer()
    assert torch.equal(meta_train(ours, 12), theirs.run(12))
    assert all(torch.equal(w, theirs.theta[name]) for name, w in ours.theta.items())


def test_the_bar_tells_loss_and_validation(capsys):
    asked = []
    losses = meta_train(small_trainer(), 10, lambda: asked.append(1) or "accuracy 12.3%", validate_every=4)
    assert len(asked) == 2
    bar = capsys.readouterr().err
    assert "10/10" in bar and f"loss {losses[-1]:.3f}, accuracy 12.3%" in bar


def test_an_interrupt_keeps_what_was_trained(monkeypatch, capsys):
    trainer, whole = small_trainer(), small_trainer()
    step = trainer.step

    def interrupted() -> torch.Tensor:
        if trainer.iteration == 3:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(trainer, "step", interrupted)
    losses = meta_train(trainer, 10)
    assert torch.equal(losses, whole.run(3))
    assert all(torch.equal(w, whole.theta[name]) for name, w in trainer.theta.items())
    assert "Stopped after 3 of 10 meta-iterations. What was trained is kept." in capsys.readouterr().out
    monkeypatch.undo()
    assert torch.equal(meta_train(trainer, 2), whole.run(2))  # it goes on as if nothing had happened


def test_an_interrupt_in_the_first_step_returns_nothing(monkeypatch):
    trainer = small_trainer()
    monkeypatch.setattr(trainer, "step", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert meta_train(trainer, 5).shape == (0,)


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"iterations": 1, "validate_every": 0}])
def test_impossible_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        meta_train(small_trainer(), **arguments)
