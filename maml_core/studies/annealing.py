"""Does theta settle once the learning rate falls? The paper's 20-way recipe, trained on from its shipped theta.

The paper keeps Adam's learning rate at 0.001 to the end. If theta only moves about a minimum at that rate, then a rate
that falls to 0, or an average of the thetas on the way, brings at once what many more meta-iterations would not.
"""

from dataclasses import replace
from typing import Any

import torch

from ..engine import MetaTrainer
from ..meta_update import SCHEDULES, MetaUpdate
from ..networks import Weights
from ..recipes import Recipe
from ..results.shipped import load_shipped
from ..tasks.characters import Characters
from ..training.loop import Settings, choose_execution
from ..util.progress import progress
from ..util.seeding import seeded_generator
from .measurements import TEST_TASKS, accuracy_on, omniglot_only
from .study import Findings, StudyContext

NAME = "omniglot-20way-1shot"
AVERAGING = 0.998  # as in the -best recipes


def annealing(context: StudyContext, iterations: int = 1000, tasks: int = TEST_TASKS) -> Findings:
    """Accuracy before, and after as many meta-iterations with a constant and with a falling learning rate.

    Both train on the same episodes and begin with fresh moments of Adam. The constant rate also gives a running average of
    theta, which training itself does not see. Raises ValueError without Omniglot.
    """
    characters = omniglot_only(context)
    theta, record = load_shipped(NAME)
    start = {name: w.to(context.device) for name, w in theta.items()}
    iterations = iterations if context.iterations is None else context.iterations
    settings = Settings(iterations=iterations, device=context.device, engine=context.engine)
    rows = [{"condition": "before"} | _accuracies(record.recipe, start, characters, tasks)]
    for seed in context.seeds:
        for schedule in SCHEDULES:
            context.log(f"{schedule} learning rate, seed {seed}")
            trainer = trainer_from(record.recipe, start, schedule, iterations, characters, replace(settings, seed=seed))
            trainer.prepare(context.log)
            losses = [trainer.step() for _ in progress(range(iterations), f"{schedule}, seed {seed}")]
            loss = torch.stack(losses[-100:]).mean().item()
            ends = {schedule: trainer.theta}
            if trainer.update.averaging is not None:
                ends[f"{schedule}, averaged"] = trainer.averaged_theta
            for condition, theta in ends.items():
                row = {"condition": condition, "seed": seed, "loss": round(loss, 4)}
                rows.append(row | _accuracies(record.recipe, theta, characters, tasks))
    about = {"recipe": NAME, "after": record.best_iteration, "iterations": iterations, "tasks": tasks}
    return Findings(rows, about | {"averaging": AVERAGING})


def trainer_from(
    recipe: Recipe, theta: Weights, schedule: str, iterations: int, characters: Characters, settings: Settings
) -> MetaTrainer:
    """The recipe's trainer for this many iterations, but starting at theta and with this schedule."""
    learner = recipe.build_learner()
    learner = replace(learner, network=replace(learner.network, init=lambda generator: theta))
    update = MetaUpdate(recipe.meta_learning_rate, averaging=AVERAGING)
    if schedule == "cosine":
        update = MetaUpdate(recipe.meta_learning_rate, horizon=iterations)
    return MetaTrainer(
        learner,
        recipe.build_training_tasks(characters.split("train", recipe.split).to(settings.device)),
        seeded_generator(settings.seed, settings.device),
        recipe.meta_batch,
        update=update,
        execution=choose_execution(recipe, iterations, settings)[0],
    )


def _accuracies(recipe: Recipe, theta: Weights, characters: Characters, tasks: int) -> dict[str, Any]:
    """By the paper's protocol, on tasks of training characters and of new ones."""
    return {part: accuracy_on(part, recipe, theta, characters, tasks) for part in ("train", "test")}
