"""Measure shipped weights along one axis: queries per class, alpha at test time, inner steps."""

import math
from dataclasses import replace

from ..evaluation import SEES, evaluate, mean_and_ci95
from ..maml import Learner
from ..networks import Weights
from ..recipes import Recipe, find_recipe
from ..results.protocol import measure
from ..results.shipped import load_shipped
from ..results.tables import ONE_THETA
from ..tasks.characters import Characters
from ..tasks.sinusoid import SinusoidTasks
from ..util.progress import progress
from ..util.seeding import seeded_generator
from .study import Findings, StudyContext

TEST_TASKS = 600
QUERIES = (1, 2, 5, 10, 15)
MULTIPLES = (0, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4)


def query_batches(context: StudyContext) -> Findings:
    """Accuracy against query pictures per class, by what batch norm sees at the query (5-way 1-shot, 3 steps).

    Always on the same 600 test tasks. Raises ValueError without Omniglot.
    """
    name = "omniglot-5way-1shot"
    theta, recipe, part = _shipped(name, omniglot_only(context))
    rows = []
    for queries in progress(QUERIES, "queries per class"):
        tasks = recipe.build_tasks(part, queries)
        for sees in SEES:
            last = recipe.test_steps[-1]
            scores = evaluate(recipe.build_learner(), theta, tasks, [last], seeded_generator(0), TEST_TASKS, sees=sees)
            rows.append({"sees": sees, "queries": queries} | rounded(*mean_and_ci95(scores[last])))
    return Findings(rows, {"recipe": name, "tasks": TEST_TASKS})


def alpha_at_test(context: StudyContext) -> Findings:
    """Accuracy after 1 and 3 inner steps with 0 to 4 times the alpha of training (5-way 1-shot)."""
    characters, rows = omniglot_only(context), []
    names = ("omniglot-5way-1shot", "omniglot-5way-1shot-sum")
    for name in names:
        theta, recipe, part = _shipped(name, characters)
        tasks = recipe.build_tasks(part)
        for multiple in progress(MULTIPLES, f"alpha, {name}"):
            learner = replace(recipe.build_learner(), alpha=recipe.alpha * (multiple or 1))
            scores = evaluate(learner, theta, tasks, [0, 1, 3], seeded_generator(0), TEST_TASKS)
            for steps in (1, 3):  # alpha = 0 is the same as no steps
                row = {"recipe": name, "multiple": multiple, "alpha": round(recipe.alpha * multiple, 6), "steps": steps}
                rows.append(row | rounded(*mean_and_ci95(scores[steps if multiple else 0])))
    return Findings(rows, {"recipes": names, "tasks": TEST_TASKS})


TWENTY_WAYS = tuple(
    f"omniglot-20way-1shot{ending}"
    for ending in ("", "-first-order", "-mean", "-fast", "-best", "-prototypes", "-matching", "-memory")
)


def seen_and_new(context: StudyContext) -> Findings:
    """Accuracy on tasks of training characters and of new ones, 20-way 1-shot: is learning what is missing, or transfer?

    Both by the paper's protocol, which draws from the 20 pictures of each character. Raises ValueError without Omniglot.
    """
    characters, rows = omniglot_only(context), []
    for name in progress(TWENTY_WAYS, "recipes"):
        theta, record = load_shipped(name)
        for seen, part in (("training characters", "train"), ("new characters", "test")):
            row = {"recipe": name, "iterations": record.iterations_run, "characters": seen}
            rows.append(row | accuracy_on(part, record.recipe, theta, characters, TEST_TASKS))
    return Findings(rows, {"recipes": TWENTY_WAYS, "tasks": TEST_TASKS})


# Candidates for the "automatically tuned step size" of the paper's baseline.
ALPHAS = (0.003, 0.01, 0.02, 0.03, 0.05)


LOST = 10.0  # twice the error of predicting 0 (4.3): a wave with more than that has been thrown off by its steps


def error_against_steps(context: StudyContext) -> Findings:
    """The paper's Figure 3 and Table 2: error after 0 to 10 steps for K = 5, 10 and 20, with 100 query points per wave.

    MAML has a theta for each K, and once more the one that was trained with K = 10 for all of them (section 5.1). The
    pretrained network is fine-tuned with its best alpha over ten steps, chosen on separate waves. The oracle takes no
    steps.
    """
    rows = []
    for shots in progress((5, 10, 20), "K"):
        for method, name in (("MAML", f"sinusoid-{shots}shot"), (ONE_THETA, "sinusoid-10shot"),
                             ("pretrained", "sinusoid-pretrained"), ("oracle", "sinusoid-oracle")):  # fmt: skip
            if method == ONE_THETA and shots == 10:
                continue  # MAML's row
            recipe, theta = find_recipe(name), load_shipped(name)[0]
            tasks = SinusoidTasks(shots, queries=100, tells_wave=method == "oracle")
            learner = recipe.build_learner()
            if method == "pretrained":
                learner = replace(learner, alpha=tuned_alpha(learner, theta, tasks))
            steps = [0] if method == "oracle" else range(11)
            scores = evaluate(learner, theta, tasks, steps, seeded_generator(0), TEST_TASKS)
            for step, score in scores.items():
                row = {"method": method, "recipe": name, "shots": shots, "alpha": learner.alpha, "steps": step}
                errors = score.nan_to_num(math.inf)  # of a wave whose weights have become infinite
                spread = {"median": round(errors.median().item(), 5), "lost": int((errors > LOST).sum())}
                rows.append(row | rounded(*mean_and_ci95(score)) | spread)
    return Findings(rows, {"tasks": TEST_TASKS, "queries": 100})


def tuned_alpha(learner: Learner, theta: Weights, tasks: SinusoidTasks) -> float:
    """The alpha in ALPHAS with the lowest total error over steps 1 to 10, on waves that the study does not use."""

    def total(alpha: float) -> float:
        scores = evaluate(replace(learner, alpha=alpha), theta, tasks, range(1, 11), seeded_generator(1), TEST_TASKS)
        error = sum(score.double().mean().item() for score in scores.values())
        return error if math.isfinite(error) else math.inf

    return min(ALPHAS, key=total)


def omniglot_only(context: StudyContext) -> Characters:
    """Omniglot's characters. Raises ValueError if they are not available."""
    characters = context.characters()
    if characters.source != "omniglot":
        raise ValueError("This study measures on Omniglot, which is not on disk: docs/training.md says where to put it.")
    return characters


def _shipped(name: str, characters: Characters) -> tuple[Weights, Recipe, Characters]:
    """Shipped weights, the recipe they were trained with, and the test characters."""
    theta, record = load_shipped(name)
    return theta, record.recipe, characters.split("test", record.recipe.split)


def accuracy_on(part: str, recipe: Recipe, theta: Weights, characters: Characters, tasks: int) -> dict[str, float]:
    """A row's mean and interval of the accuracy on one part of the split, by the paper's protocol."""
    judged = measure(recipe, theta, characters, 0, tasks, part, by_step=False)
    return rounded(judged["accuracy"], judged["ci95"])


def rounded(mean: float, ci95: float) -> dict[str, float]:
    """A row's mean and interval, rounded to five decimals."""
    return {"mean": round(mean, 5), "ci95": round(ci95, 5)}
