"""Three families of few-shot learning, trained on the same episodes: where the test differs from the training."""

from dataclasses import replace

from ..evaluation import evaluate, mean_and_ci95
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
    MAML: "families/omniglot-5way-1shot",  # as long as the others, unlike what is shipped as omniglot-5way-1shot
    "prototypes": "omniglot-5way-1shot-prototypes",
    "matching": "omniglot-5way-1shot-matching",
    "memory": "omniglot-5way-1shot-memory",
}
ANY_WAYS = ("prototypes", "matching")  # whose theta knows of no number of classes
TEST_TASKS = 300
AXES = {"shots": (1, 2, 5, 10), "ways": (2, 3, 5, 10, 20), "turned": (0, 15, 30, 45), "stroke": (-1, -0.5, 0, 0.5, 1)}
TRAINED_AT = {"shots": 1, "ways": 5, "turned": 0, "stroke": 0}


def load_family(label: str) -> tuple[Learner, Weights, Recipe]:
    """A family's learner and theta after the study's 5-way 1-shot training, seed 0, and its recipe."""
    theta, record = load_shipped(SHIPPED_AS[label])
    return record.recipe.build_learner(), theta, record.recipe


def other_ways(label: str, ways: int) -> tuple[Learner, Weights, int] | None:
    """Learner, theta and test steps for another number of classes; None where what was trained at 5 has no answer.

    MAML and the memory have an output for each of 5 labels: of fewer classes they use the first. For more, "equal
    columns" gives MAML's last layer the mean of its columns N times, and an alpha that grows with N, as the mean over
    N*K support points makes the share of each class's points smaller.
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
    """Accuracy where shots, ways, orientation or stroke width differ from training (5-way 1-shot), one at a time.

    The same 300 test tasks for all families, one query picture per class. Raises ValueError without Omniglot.
    """
    test, rows = omniglot_only(context).split("test"), []
    known: dict[tuple, tuple[float, float] | None] = {}  # the setting of training is on every axis
    for axis, value in progress([(axis, value) for axis, values in AXES.items() for value in values], "families"):
        for label in (*SHIPPED_AS, *([EQUAL_COLUMNS] if axis == "ways" and value >= TRAINED_AT["ways"] else [])):
            setting = TRAINED_AT | {axis: value}
            key = (label, *setting.values())
            if key not in known:
                known[key] = _measure(label, test, **setting)
            if known[key]:
                mean, ci95 = known[key]
                rows.append(
                    {"axis": axis, "value": value, "learner": label, "mean": round(mean, 5), "ci95": round(ci95, 5)}
                )
    return Findings(rows, {"trained_at": TRAINED_AT, "tasks": TEST_TASKS, "queries": 1})


def _measure(
    label: str, test: Characters, *, shots: int, ways: int, turned: float, stroke: float
) -> tuple[float, float] | None:
    """Mean and interval of one family under one setting, or None where it has no answer."""
    found = other_ways(label, ways)
    if found is None:
        return None
    learner, theta, steps = found
    recipe = replace(load_family(MAML)[2], ways=ways, shots=shots)
    tasks = shifted.ShiftedTasks(recipe.build_tasks(test, queries=1), changed(turned, stroke))
    return mean_and_ci95(evaluate(learner, theta, tasks, [steps], seeded_generator(0), TEST_TASKS)[steps])
