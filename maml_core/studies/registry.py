"""All studies by name: trainings that differ in one factor, or measurements of weights.

`python -m maml_core study NAME` runs one and writes its results as JSON, from which chapters and figures are made.
"""

from collections.abc import Callable
from typing import Any

from ..learners.adapting import CHOICES as ADAPTING
from ..learners.registry import READERS
from ..tasks.characters import Characters
from .families import MAML, families_shift
from .measurements import alpha_at_test, error_against_steps, query_batches
from .multitask import multi_task
from .multitask_training import METHODS
from .navigation import navigation_study
from .study import Condition, Protocol, Study

UPRIGHT_AND_TURNED: dict[str, Protocol] = {
    "turned characters": ({"rotations": True}, None),
    "upright characters": ({"rotations": False}, None),
}


def _few_tasks(**changes: Any) -> Condition:
    """5-way 1-shot with three inner steps, so that variants have something to differ in, and few tasks, for two cores."""
    return Condition("omniglot-5way-1shot", {**changes, "inner_steps": 3, "meta_batch": 8})


def _adapting(what: str) -> Condition:
    """20-way 1-shot by the fast recipe, with another choice of what adapts and the schedule of a short training."""
    return Condition("omniglot-20way-1shot-fast", {"adapts": what, "meta_iterations": 1_000})


SECOND_ORDER = Condition("omniglot-5way-1shot")
TRAINED = {
    "loss-scale-5way": Study(
        "Inner loss, 5-way 1-shot: the sum over points divided by K, as the paper's code has it, or the mean?",
        {"mean": SECOND_ORDER, "sum / K": Condition("omniglot-5way-1shot-sum")},
        iterations=4000,
        validate_every=500,
    ),
    "loss-scale-20way": Study(
        "Inner loss, 20-way 1-shot: the sum over points divided by K, as the paper's code has it, or the mean?",
        {
            "mean": Condition("omniglot-20way-1shot", {"inner_loss": "mean"}),
            "sum / K": Condition("omniglot-20way-1shot"),
        },
        iterations=300,
        validate_every=100,
    ),
    "order": Study(
        "Second against first order, 5-way 1-shot",
        {"second order": SECOND_ORDER, "first order": Condition("omniglot-5way-1shot-first-order")},
        iterations=4000,
        validate_every=500,
    ),
    "rotations": Study(
        "Training on characters turned by multiples of 90 degrees, or upright ones only, 5-way 1-shot",
        {
            "trained on turned": SECOND_ORDER,
            "trained on upright": Condition("omniglot-5way-1shot", {"rotations": False}),
        },
        iterations=4000,
        validate_every=500,
        protocols=UPRIGHT_AND_TURNED,
    ),
    "variants": Study(
        "MAML and its variants, 5-way 1-shot: three inner steps, eight tasks in a meta-iteration",
        {
            "MAML": _few_tasks(),
            "first order": _few_tasks(first_order=True),
            "Reptile": _few_tasks(variant="reptile"),
            "ANIL": _few_tasks(variant="anil"),
            "Meta-SGD": _few_tasks(variant="meta-sgd"),
            "MAML++": _few_tasks(variant="maml++"),
            "iMAML": _few_tasks(variant="imaml"),
        },
        iterations=1000,
        validate_every=200,
        ships=True,
    ),
}
TRAINED["what-adapts"] = Study(
    "What adapts, 20-way 1-shot: one inner step, an alpha learned for each layer that takes part",
    {what: _adapting(what) for what in ADAPTING},
    iterations=1000,
    validate_every=250,
    ships=True,
)
# MAML's and the readers' recipes differ in the variant (reading takes one step, whatever the inner loop's number of steps).
TRAINED |= {
    f"families-{ways}way": Study(
        f"Three families of few-shot learning on the same episodes, {ways}-way 1-shot",
        {MAML: maml, **{name: Condition(f"omniglot-{ways}way-1shot-{name}") for name in READERS}},
        iterations=iterations,
        validate_every=every,
    )
    for ways, maml, iterations, every in (
        (5, SECOND_ORDER, 1000, 200),
        (20, Condition("omniglot-20way-1shot", {"inner_loss": "mean"}), 300, 50),  # which learns faster (loss-scale-20way)
    )
}

# Of shipped weights, or of small networks that are trained on the way: (characters or None) -> what stands in the JSON.
MEASURED: dict[str, Callable[[Characters | None], dict[str, Any]]] = {
    "query-batches": query_batches,
    "alpha-at-test": alpha_at_test,
    "error-against-steps": error_against_steps,
    "families-shift": families_shift,
    "multi-task": multi_task,
}
# Sine waves need no characters.
WITHOUT_CHARACTERS = ("error-against-steps", "multi-task")
# Of policies: (folder, seeds, meta-iterations or None, device, facts) -> what stands in the JSON.
SAMPLED: dict[str, Callable[..., dict[str, Any]]] = {"navigation": navigation_study}
STUDIES = (*TRAINED, *MEASURED, *SAMPLED)


def weights_of(name: str) -> tuple[str, ...]:
    """The conditions whose weights are shipped with a study's results."""
    if name == "multi-task":
        return METHODS
    return tuple(TRAINED[name].conditions) if name in TRAINED and TRAINED[name].ships else ()
