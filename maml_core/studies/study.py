"""A study: one question, answered by trainings that differ in one factor.

All trainings of a study are equally long, on the same seeds. A training that two studies share is run once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..recipes import Recipe, find_recipe
from ..results.protocol import measure
from ..results.shipped import weights_name
from ..tasks.characters import Characters
from ..training import checkpoints
from ..training.loop import Settings, train

# How trained weights are judged: changes to the recipe, and query points per class (None: the recipe's own).
Protocol = tuple[dict[str, Any], int | None]
AS_IN_THE_PAPER: dict[str, Protocol] = {"paper": ({}, None), "15 queries": ({}, 15)}


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
