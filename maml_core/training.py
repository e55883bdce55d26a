"""Meta-training: Algorithm 2's outer loop, with validation, checkpoints and a progress bar."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import checkpoints
from .choices import choose_block, choose_chunk, choose_engine
from .engine import MetaTrainer
from .episodes import TaskDistribution, seeded_generator
from .evaluation import evaluate, mean_and_ci95
from .maml import Learner
from .progress import progress
from .recipes import Recipe
from .shards import Shard


def train(
    recipe: Recipe,
    tasks: TaskDistribution,
    validation: TaskDistribution,
    out: Path,
    iterations: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    engine: str = "auto",
    resume: bool = False,
    validate_every: int = 1000,
    facts: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
    precision: str = "float32",
    chunk: int | None = None,
    shard: Shard = Shard(),
) -> dict[str, Any]:
    """Meta-train a recipe into the folder `out` and return the final checkpoint.

    `out/checkpoint.pt` holds the training as it stands (written at every validation and on Ctrl-C), and
    `out/weights.pt` the theta that did best on the validation tasks; `.json` files beside tell their story.
    `facts` are noted in them. Raises ValueError for a folder that holds another training.

    engine, precision, chunk (tasks at a time; None: as fits) change how fast it goes, not what is learned. Of several
    processes (`shard`) all train and the first one writes and speaks.
    """
    iterations = recipe.meta_iterations if iterations is None else iterations
    for name, value in (("iterations", iterations), ("validate_every", validate_every), ("chunk_tasks", chunk)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")
    engine, why = choose_engine(recipe, iterations, engine, device)
    learner = recipe.build_learner()
    generator = seeded_generator(seed, device)
    trainer = MetaTrainer(
        learner, tasks, generator, recipe.meta_batch, recipe.meta_learning_rate,
        chunk or choose_chunk(recipe, device, shard.world, engine), engine, precision, choose_block(recipe), shard,
    )  # fmt: skip
    writes = shard.rank == 0
    say = say if writes else lambda text: None
    run = {"recipe": asdict(recipe), "seed": seed, "wall_seconds": 0.0, "history": [], "best": None}
    run |= {"device": device, "precision": precision, "torch": str(torch.__version__)} | (facts or {})
    if resume:
        run |= _resume(trainer, out, run)
        say(f"Going on after meta-iteration {trainer.iteration:,}.")
    elif writes and any((out / name).exists() for name in ("checkpoint.pt", "weights.pt")):
        raise ValueError(f"{out} already holds a training: add --resume to go on with it, or choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{out} cannot be made a folder ({error.strerror}): choose another --out.") from error
    say(why)

    started = time.monotonic() - run["wall_seconds"]
    losses: list[Tensor] = []

    def note() -> None:
        """Validate, remember the best theta, and write everything down."""
        if not (run["history"] and run["history"][-1]["iteration"] == trainer.iteration):  # else cut off in the writing
            score, ci95 = validation_score(recipe, learner, trainer, validation)
            loss = torch.cat(losses).mean().item() if losses else None
            run["history"].append({"iteration": trainer.iteration, "loss": loss, "validation": score, "ci95": ci95})
            losses.clear()
        if not writes:
            return
        row, best = run["history"][-1], run["best"]
        run["wall_seconds"] = round(time.monotonic() - started, 1)
        run["iterations"] = trainer.iteration
        if best is None or best["iteration"] == trainer.iteration or _is_better(recipe, row, best):
            run["best"] = {key: row[key] for key in ("iteration", "validation", "ci95")}
            told = {key: value for key, value in run.items() if key != "history"}
            checkpoints.save({"theta": trainer.theta, "iteration": trainer.iteration, **told}, out / "weights.pt")
        checkpoints.save({**trainer.state(), **run}, out / "checkpoint.pt")
        checkpoints.save(run, out / "history.json")

    bar = progress(None, recipe.name, iterations, show=writes, initial=trainer.iteration)
    try:
        if trainer.iteration < iterations:
            trainer.prepare(say)
        while trainer.iteration < iterations:
            until_note = validate_every - trainer.iteration % validate_every
            size = min(trainer.block, until_note, iterations - trainer.iteration)
            losses.append(trainer.run(size))
            bar.update(size)
            if size == until_note or trainer.iteration == iterations:
                note()
                bar.set_postfix_str(_told(recipe, run["history"][-1]), refresh=False)
    except KeyboardInterrupt:
        note()
        say(f"Stopped at meta-iteration {trainer.iteration:,}; go on with --resume --out {out}.")
        raise
    finally:
        bar.close()
    return {**trainer.state(), **run}


def _resume(trainer: MetaTrainer, out: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Put the trainer where the checkpoint left it; returns what the checkpoint says of the run so far."""
    path = out / "checkpoint.pt"
    state = checkpoints.load(path)
    if not {"first_moment", "generator", "history", "best", "wall_seconds"} <= state.keys():
        raise ValueError(f"{path} holds weights but no training to go on with: name a folder that `train` wrote.")
    for what, ours, theirs in (
        ("settings", Recipe(**run["recipe"]), Recipe(**state["recipe"])),
        ("seed", run["seed"], state.get("seed")),
        ("data", run.get("data"), state.get("data")),
    ):
        if ours != theirs:
            raise ValueError(f"{path} was trained with other {what}: resume it with its own, or choose another --out.")
    trainer.load_state(state)
    return {key: state[key] for key in ("wall_seconds", "history", "best")}


def validation_score(
    recipe: Recipe, learner: Learner, trainer: MetaTrainer, validation: TaskDistribution
) -> tuple[float, float]:
    """Accuracy after the recipe's test steps, or mean squared error after 1 step, on 300 tasks: the same ones each time.

    (The oracle, which takes no step at test, is judged before one.)
    """
    generator = seeded_generator(1, trainer.generator.device)
    step = min(1, recipe.test_steps[-1]) if recipe.is_regression else recipe.test_steps[-1]
    return mean_and_ci95(evaluate(learner, trainer.theta, validation, [step], generator, test_tasks=300)[step])


def _is_better(recipe: Recipe, row: dict[str, Any], best: dict[str, Any]) -> bool:
    """Errors are best when low, accuracies when high; anything is better than a nan."""
    new, old = row["validation"], best["validation"]
    return math.isnan(old) or (new < old if recipe.is_regression else new > old)


def _told(recipe: Recipe, row: dict[str, Any]) -> str:
    """A row of the history for the progress bar."""
    return ("" if row["loss"] is None else f"loss {row['loss']:.3f}, ") + describe(recipe, row)


def describe(recipe: Recipe, row: dict[str, Any]) -> str:
    """A row of the history for people."""
    if recipe.is_regression:
        return f"validation mse {row['validation']:.3f} ± {row['ci95']:.3f}"
    return f"validation accuracy {100 * row['validation']:.1f} ± {100 * row['ci95']:.1f}%"
