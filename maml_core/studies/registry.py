"""All studies by name; to add one, add an entry to STUDIES.

`python -m maml_core study NAME` runs one and writes its results as JSON, which chapters and figures are made from.
"""

from functools import partial
from typing import Any

from ..learners.adapting import CHOICES as ADAPTING
from .annealing import annealing
from .families import TRAINED_WITH, families_shift
from .families_cost import families_cost
from .measurements import alpha_at_test, error_against_steps, query_batches, seen_and_new
from .multitask import multi_task
from .multitask_training import METHODS
from .navigation import AS_IN_CODE, navigation_study
from .shrinking import SHORT, shrinking
from .study import Study
from .trainings import Condition, Protocol, Trainings

UPRIGHT_AND_TURNED: dict[str, Protocol] = {
    "turned characters": ({"rotations": True}, None),
    "upright characters": ({"rotations": False}, None),
}


def _few_tasks(**changes: Any) -> Condition:
    """5-way 1-shot with three inner steps, so that variants can differ, and with few tasks, to suit two cores."""
    return Condition("omniglot-5way-1shot", {**changes, "inner_steps": 3, "meta_batch": 8})


def _adapting(what: str) -> Condition:
    """20-way 1-shot with the fast recipe, another choice of what adapts, and the schedule of a short run."""
    return Condition("omniglot-20way-1shot-fast", SHORT | {"adapts": what})


def _remedies(turned_classes: bool, jitter: bool) -> Condition:
    """The best recipe with and without its remedies against overfitting."""
    return Condition("omniglot-20way-1shot-best", {"turned_classes": turned_classes, "jitter": jitter})


def _in_both_precisions(recipe: str) -> dict[str, Condition]:
    """A recipe trained with float32 products and with bf16 products."""
    return {precision: Condition(recipe, precision=precision) for precision in ("float32", "bf16")}


def _trained(name: str, question: str, conditions: dict[str, Condition], ships: bool = False, **how: Any) -> Study:
    """A study that trains. ships: whether its weights ship with its results; how: arguments of Trainings."""
    answer = Trainings(conditions, **how)
    return Study(name, question, answer, trains=True, ships=tuple(conditions) if ships else ())


SECOND_ORDER = Condition("omniglot-5way-1shot")


def _families(ways: int, **how: Any) -> Study:
    """MAML and the readers, whose recipes differ in the variant (readers ignore the number of inner steps)."""
    conditions = {label: Condition(recipe) for label, recipe in TRAINED_WITH[ways].items()}
    question = f"Three families of few-shot learning on the same episodes, {ways}-way 1-shot"
    return _trained(f"families-{ways}way", question, conditions, **how)


STUDIES: dict[str, Study] = {study.name: study for study in (
    # Training runs that differ in one factor.
    _trained("loss-scale-5way",
             "Inner loss, 5-way 1-shot: the sum over points divided by K, as the paper's code has it, or the mean?",
             {"mean": SECOND_ORDER, "sum / K": Condition("omniglot-5way-1shot-sum")},
             iterations=4000, validate_every=500),
    _trained("loss-scale-20way",
             "Inner loss, 20-way 1-shot: the sum over points divided by K, as the paper's code has it, or the mean?",
             {"mean": Condition("omniglot-20way-1shot-mean"), "sum / K": Condition("omniglot-20way-1shot")},
             iterations=300, validate_every=100),
    _trained("order", "Second against first order, 5-way 1-shot",
             {"second order": SECOND_ORDER, "first order": Condition("omniglot-5way-1shot-first-order")},
             iterations=4000, validate_every=500),
    _trained("rotations",
             "Training on characters turned by multiples of 90 degrees, or upright ones only, 5-way 1-shot",
             {"trained on turned": SECOND_ORDER,
              "trained on upright": Condition("omniglot-5way-1shot", {"rotations": False})},
             iterations=4000, validate_every=500, protocols=UPRIGHT_AND_TURNED),
    _trained("context-vector",
             "Does everything adapt, or only free parameters beside the input (the paper's Table 3)? 5-way 1-shot",
             {"all weights": SECOND_ORDER, "context vector": Condition("omniglot-5way-1shot", {"network": "context"})},
             iterations=4000, validate_every=500),
    _trained("variants", "MAML and its variants, 5-way 1-shot: three inner steps, eight tasks in a meta-iteration",
             {"MAML": _few_tasks(),
              "first order": _few_tasks(first_order=True),
              "Reptile": _few_tasks(variant="reptile"),
              "ANIL": _few_tasks(variant="anil"),
              "Meta-SGD": _few_tasks(variant="meta-sgd"),
              "MAML++": _few_tasks(variant="maml++"),
              "iMAML": _few_tasks(variant="imaml")},
             iterations=1000, validate_every=200, ships=True),
    _trained("what-adapts",
             "What adapts, 20-way 1-shot: one inner step, an alpha learned for each layer that takes part",
             {what: _adapting(what) for what in ADAPTING}, iterations=1000, validate_every=250, ships=True),
    _trained("overfitting",
             "The last block alone, 20-way 1-shot: what is each remedy against overfitting worth?",
             {"neither": _remedies(False, False),
              "turned characters as classes": _remedies(True, False),
              "jitter": _remedies(False, True),
              "both": _remedies(True, True)},
             iterations=24_000, validate_every=2000),
    _trained("precision",
             "The products of a training in float32 or in bf16, 5-way 1-shot: does it change what is learned?",
             _in_both_precisions("omniglot-5way-1shot"), iterations=8000, validate_every=1000),
    _trained("precision-20way",
             "The products of a training in float32 or in bf16, 20-way 1-shot: does it change what is learned?",
             _in_both_precisions("omniglot-20way-1shot"), iterations=1000, validate_every=250),
    _trained("seeds",
             "The fast recipes with three seeds each: how much does the seed decide?",
             {"5-way 1-shot": Condition("omniglot-5way-1shot-fast"),
              "20-way 1-shot": Condition("omniglot-20way-1shot-fast"),
              "20-way 1-shot, without jitter": Condition("omniglot-20way-1shot-fast", {"jitter": False})},
             iterations=None, validate_every=1000),
    _families(5, iterations=20_000, validate_every=1000),
    _families(20, iterations=20_000, validate_every=1000),
    Study("shrinking",
          "Omniglot's pictures shrunk with a Lanczos filter or by nearest neighbour: what does that change at 20 ways?",
          shrinking, trains=True),
    # Measurements of shipped weights.
    Study("query-batches", "How much of the accuracy comes from judging the query pictures together?", query_batches),
    Study("alpha-at-test", "Does the alpha of training remain the best one at test?", alpha_at_test),
    Study("seen-and-new", "20-way 1-shot: is it learning that is missing, or transfer to new characters?", seen_and_new),
    Study("error-against-steps", "How does the error fall with inner steps at test?", error_against_steps),
    Study("families-cost", "What does a meta-iteration of each family cost one core?", families_cost),
    Study("families-shift", "What does each family do when the test differs from its training?", families_shift),
    # Training that begins at shipped weights.
    Study("annealing", "20-way 1-shot by the paper's recipe: what if the learning rate fell to 0 now?", annealing),
    # Small networks and policies, which have training loops of their own.
    Study("multi-task", "What are regressors worth that are trained apart and averaged in parameter space?", multi_task,
          ships=METHODS),
    Study("navigation", "2-D navigation: how does the return rise with policy gradient steps on a new goal?",
          navigation_study, trains=True),
    Study("navigation-distance", "2-D navigation, the code's reward: MAML and a context vector beside the paper's Table 4",
          partial(navigation_study, conditions=AS_IN_CODE), trains=True),
)}  # fmt: skip
