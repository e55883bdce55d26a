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
from ..results.protocol import measure
from ..results.shipped import load_shipped
from ..tasks.characters import Characters
from ..training.loop import Settings, choose_execution
from ..util.progress import progress
from ..util.seeding import seeded_generator
from .measurements import TEST_TASKS, omniglot_only, rounded
from .study import Findings, StudyContext

NAME = "omniglot-20way-1shot"
AVERAGING = 0.998  # as in the -best recipes
BEFORE, AVERAGE = "before", "constant, averaged"


def annealing(context: StudyContext, iterations: int = 1000, tasks: int = TEST_TASKS) -> Findings:
    """Accuracy before, and after as many meta-iterations with a constant and with a falling learning rate.

    Both train on the same episodes and begin with fresh moments of Adam. The constant rate also gives a running average of
    theta, which training itself does not see. Raises ValueError without Omniglot.
    """
    characters = omniglot_only(context)
    theta, record = load_shipped(NAME)
    start = {name: w.to(context.device) for name, w in theta.items()}
    iterations = context.iterations or iterations
    rows = [{"condition": BEFORE} | _accuracies(record.recipe, start, characters, tasks)]
    for seed in context.seeds:
        for schedule in SCHEDULES:
            context.log(f"{schedule} learning rate, seed {seed}")
            trainer = trainer_from(record.recipe, start, schedule, iterations, seed, characters, context)
            trainer.prepare(context.log)
            losses = [trainer.step() for _ in progress(range(iterations), f"{schedule}, seed {seed}")]
            loss = torch.stack(losses[-100:]).mean().item()
            ends = {schedule: trainer.theta} | ({AVERAGE: trainer.averaged_theta} if schedule == "constant" else {})
            for condition, theta in ends.items():
                row = {"condition": condition, "seed": seed, "loss": round(loss, 4)}
                rows.append(row | _accuracies(record.recipe, theta, characters, tasks))
    settings = {"recipe": NAME, "after": record.best_iteration, "iterations": iterations, "tasks": tasks}
    return Findings(rows, settings | {"averaging": AVERAGING})


def trainer_from(
    recipe: Recipe, theta: Weights, schedule: str, iterations: int, seed: int, characters: Characters, context: StudyContext
) -> MetaTrainer:
    """The recipe's trainer, but starting at theta."""
    learner = recipe.build_learner()
    learner = replace(learner, network=replace(learner.network, init=lambda generator: theta))
    settings = Settings(seed=seed, device=context.device, engine=context.engine)
    horizon = iterations if schedule == "cosine" else None
    return MetaTrainer(
        learner,
        recipe.build_training_tasks(characters.split("train", recipe.split).to(context.device)),
        seeded_generator(seed, context.device),
        recipe.meta_batch,
        update=MetaUpdate(recipe.meta_learning_rate, horizon, averaging=None if horizon else AVERAGING),
        execution=choose_execution(recipe, iterations, settings)[0],
    )


def _accuracies(recipe: Recipe, theta: Weights, characters: Characters, tasks: int) -> dict[str, Any]:
    """By the paper's protocol, on tasks of training characters and of new ones."""
    judged = {part: measure(recipe, theta, characters, 0, tasks, part, by_step=False) for part in ("train", "test")}
    return {part: rounded(row["accuracy"], row["ci95"]) for part, row in judged.items()}
