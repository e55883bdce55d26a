"""Studies: one question each, answered by trainings that differ in one factor, or by measuring weights.

`python -m maml_core study NAME` runs one and writes its results as JSON, from which chapters and figures are made.
All trainings of a study are equally long, on the same seeds. A training that two studies share is run once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import checkpoints
from .adapting import CHOICES as ADAPTING
from .characters import Characters
from .families import MAML, families_shift
from .multitask import METHODS, multi_task
from .recipes import READERS, Recipe, find_recipe
from .results import measure, weights_name
from .rl.study import navigation_study
from .sweeps import alpha_at_test, error_against_steps, query_batches
from .training import Settings, train

# How trained weights are judged: changes to the recipe, and query points per class (None: the recipe's own).
Protocol = tuple[dict[str, Any], int | None]
AS_IN_THE_PAPER: dict[str, Protocol] = {"paper": ({}, None), "15 queries": ({}, 15)}
UPRIGHT_AND_TURNED: dict[str, Protocol] = {
    "turned characters": ({"rotations": True}, None),
    "upright characters": ({"rotations": False}, None),
}


@dataclass(frozen=True)
class Condition:
    """One side of a comparison: a recipe by name, and what is changed of it."""

    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Recipe:
        return replace(find_recipe(self.recipe), **self.changes)

    def folder(self, seed: int) -> str:
        """Where its training lies, by what it is, so that studies find each other's."""
        return ",".join([self.recipe, *(f"{key}={value}" for key, value in self.changes.items()), f"seed={seed}"])


@dataclass(frozen=True)
class Study:
    """Trainings that differ in one factor.

    conditions: {label: Condition}; iterations: meta-iterations of each; protocols: how the weights are judged
    """

    question: str
    conditions: dict[str, Condition]
    iterations: int
    validate_every: int
    protocols: dict[str, Protocol] = field(default_factory=lambda: AS_IN_THE_PAPER)
    ships: bool = False


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


def run_study(
    study: Study,
    characters: Characters,
    root: Path,
    seeds: tuple[int, ...] = (0, 1),
    iterations: int | None = None,
    device: str = "cpu",
    facts: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
    test_tasks: int = 600,
    engine: str = "auto",
    weights: Path | None = None,
) -> dict[str, Any]:
    """Train every condition on every seed into a folder below `root`, going on where one was begun, and judge them.

    weights: where the best theta of each condition goes, of the first seed, to be loaded with `load_study_weights`.

    Returns the question, the rows (a training each, with its history and its accuracies) and what was run. Raises
    ValueError where a folder holds a training that is longer already.
    """
    iterations = study.iterations if iterations is None else iterations
    rows = []
    for label, condition in study.conditions.items():
        recipe = condition.build()
        train_part, held_out = (characters.split(part, recipe.split).to(device) for part in ("train", "validation"))
        tasks, validation = recipe.build_training_tasks(train_part), recipe.build_tasks(held_out)
        for seed in seeds:
            out = root / condition.folder(seed)
            say(f"{label}, seed {seed}: {out}")
            begun = (out / "checkpoint.pt").exists()
            run = train(
                recipe, tasks, validation, out,
                Settings(iterations=iterations, seed=seed, device=device, engine=engine, resume=begun, say=say,
                         validate_every=study.validate_every, again="the same study.",
                         metadata={"data": characters.source, **(facts or {})}),
            )  # fmt: skip
            if run["iteration"] != iterations:
                raise ValueError(
                    f"{out} has gone on to meta-iteration {run['iteration']:,}, past the {iterations:,} of this study: "
                    "move it away, or ask for as many --iterations."
                )
            best = checkpoints.load(out / "weights.pt")
            if weights and seed == seeds[0]:
                checkpoints.save(best, weights / weights_name(label))
            judged = {
                name: measure(
                    replace(recipe, **changes), best["theta"], characters, 0, test_tasks, queries=queries, by_step=False
                )
                for name, (changes, queries) in study.protocols.items()
            }
            facts_of_run = ("best", "wall_seconds", "cpu_seconds", "cpu_by_history", "device", "torch", "history")
            told = {key: run[key] for key in facts_of_run}
            rows.append({"condition": label, "seed": seed, "recipe": recipe.name, **told, "judged": judged})
    return {"question": study.question, "iterations": iterations, "tasks": test_tasks,
            "data": characters.source, "rows": rows}  # fmt: skip
