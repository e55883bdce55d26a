"""What a meta-iteration of each of the three families costs one CPU core."""

import statistics
import time

from ..engine.trainer import MetaTrainer
from ..recipes import find_recipe
from ..tasks.characters import Characters
from ..training.loop import Settings, choose_execution
from ..util.progress import progress
from ..util.seeding import seeded_generator
from ..util.threads import threads
from .families import TRAINED_WITH
from .measurements import omniglot_only
from .study import Findings, StudyContext

ROUNDS = 15


def families_cost(context: StudyContext) -> Findings:
    """CPU seconds of a meta-iteration of every learner, at 5 and at 20 ways, on one thread: medians over ROUNDS rounds.

    In each round every learner runs one, so that all are timed under the same load. Raises ValueError without Omniglot.
    """
    train_part, rows = omniglot_only(context).split("train"), []
    with threads(1):
        for ways, recipes in TRAINED_WITH.items():
            trainers = {label: _trainer(name, train_part, context) for label, name in recipes.items()}
            seconds: dict[str, list[float]] = {label: [] for label in trainers}
            for trainer in trainers.values():
                trainer.step()  # compiles
            for _ in progress(range(ROUNDS), f"{ways} ways"):
                for label, trainer in trainers.items():
                    before = time.process_time()
                    trainer.step()
                    seconds[label].append(time.process_time() - before)
            for label, values in seconds.items():
                cost = {"cpu_seconds": round(statistics.median(values), 4), "engine": trainers[label].engine}
                rows.append({"ways": ways, "learner": label, "recipe": recipes[label]} | cost)
    return Findings(rows, {"rounds": ROUNDS})


def _trainer(name: str, train_part: Characters, context: StudyContext) -> MetaTrainer:
    recipe = find_recipe(name)
    execution, _ = choose_execution(recipe, recipe.meta_iterations, Settings(engine=context.engine))
    tasks = recipe.build_training_tasks(train_part)
    return MetaTrainer(recipe.build_learner(), tasks, seeded_generator(0), recipe.meta_batch, execution=execution)
