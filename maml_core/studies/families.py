"""Three families of few-shot learning, trained on the same episodes, when the test differs from training."""

from dataclasses import replace

from ..evaluation import evaluate, mean_and_ci95
from ..learners.registry import READERS
from ..learners.ways import equal_columns, first_outputs
from ..maml import Learner
from ..networks import Weights
from ..recipes import Recipe
from ..results.shipped import load_shipped
from ..tasks import shifted
from ..tasks.characters import Characters
from ..tasks.shifted import changed
from ..util.progress import progress
from ..util.seeding import seeded_generator
from .measurements import omniglot_only
from .study import Findings, StudyContext

MAML, EQUAL_COLUMNS = "MAML", "MAML, equal columns"
SHIPPED_AS = {
    MAML: "families/omniglot-5way-1shot",  # trained as long as the others, unlike omniglot-5way-1shot
    "prototypes": "omniglot-5way-1shot-prototypes",
    "matching": "omniglot-5way-1shot-matching",
    "memory": "omniglot-5way-1shot-memory",
}
# {ways: {label: recipe}}; at 20 ways with the mean as inner loss, which learns faster there (loss-scale-20way)
TRAINED_WITH = {
    5: {MAML: "omniglot-5way-1shot", **{name: f"omniglot-5way-1shot-{name}" for name in READERS}},
    20: {MAML: "omniglot-20way-1shot-mean", **{name: f"omniglot-20way-1shot-{name}" for name in READERS}},
}
ANY_WAYS = ("prototypes", "matching")  # their theta does not depend on the number of classes
TEST_TASKS = 300
AXES = {"shots": (1, 2, 5, 10), "ways": (2, 3, 5, 10, 20), "turned": (0, 15, 30, 45), "stroke": (-1, -0.5, 0, 0.5, 1)}
TRAINED_AT = {"shots": 1, "ways": 5, "turned": 0, "stroke": 0}


def load_family(label: str) -> tuple[Learner, Weights, Recipe]:
    """A family's learner, theta and recipe, from the study's 5-way 1-shot run with seed 0."""
    theta, record = load_shipped(SHIPPED_AS[label])
    return record.recipe.build_learner(), theta, record.recipe


def other_ways(label: str, ways: int) -> tuple[Learner, Weights, int] | None:
    """Learner, theta and test steps for another number of classes; None if one trained on 5 ways cannot handle it.

    MAML and the memory have one output per label. For fewer than 5 classes they use the first outputs. For more, "equal
    columns" repeats the mean of the columns of MAML's last layer N times, and scales alpha with N, since the mean over
    N*K support points gives each class a smaller share.
    """
    learner, theta, recipe = load_family(MAML if label == EQUAL_COLUMNS else label)
    steps = recipe.test_steps[-1]
    if label in ANY_WAYS:
        return replace(recipe, ways=ways).build_learner(), theta, steps
    if label == EQUAL_COLUMNS:
        wider = replace(recipe, ways=ways, alpha=recipe.alpha * ways / recipe.ways).build_learner()
        return wider, theta | equal_columns(theta, ways), steps
    if ways > recipe.ways:
        return None
    return replace(learner, network=first_outputs(learner.network, ways)), theta, steps


def families_shift(context: StudyContext) -> Findings:
    """Accuracy when shots, ways, orientation or stroke width differ from training (5-way 1-shot), one at a time.

    All families get the same 300 test tasks, with one query picture per class. Raises ValueError without Omniglot.
    """
    test, rows = omniglot_only(context).split("test"), []
    known: dict[tuple, tuple[float, float] | None] = {}  # the training setting occurs on every axis
    for axis, value in progress([(axis, value) for axis, values in AXES.items() for value in values], "families"):
        for label in (*SHIPPED_AS, *([EQUAL_COLUMNS] if axis == "ways" and value >= TRAINED_AT["ways"] else [])):
            setting = TRAINED_AT | {axis: value}
            key = (label, *setting.values())
            if key not in known:
                known[key] = _measure(label, test, **setting)
            if found := known[key]:
                mean, ci95 = found
                rows.append(
                    {"axis": axis, "value": value, "learner": label, "mean": round(mean, 5), "ci95": round(ci95, 5)}
                )
    return Findings(rows, {"trained_at": TRAINED_AT, "tasks": TEST_TASKS, "queries": 1})


def _measure(
    label: str, test: Characters, *, shots: int, ways: int, turned: float, stroke: float
) -> tuple[float, float] | None:
    """Mean and interval of one family in one setting, or None if it cannot handle the number of classes."""
    found = other_ways(label, ways)
    if found is None:
        return None
    learner, theta, steps = found
    recipe = replace(load_family(MAML)[2], ways=ways, shots=shots)
    tasks = shifted.ShiftedTasks(recipe.build_tasks(test, queries=1), changed(turned, stroke))
    return mean_and_ci95(evaluate(learner, theta, tasks, [steps], seeded_generator(0), TEST_TASKS)[steps])
