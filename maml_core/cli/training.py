"""`train`: a training begun or gone on with."""

import argparse
import shlex
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..engine.distributed import Shard, join, leave
from ..engine.precision import check_precision
from ..recipes import Recipe, find_recipe
from ..results.unfinished import find_unfinished, take_unfinished
from ..training import checkpoints
from ..training.checkpoints import CHECKPOINT, load_training
from ..training.loop import Settings, train
from ..training.monitor import describe
from ..training.record import TrainingRecord
from ..util.checks import at_least
from .arguments import build_parser
from .commands import _changed, _check_device, _commit, _load_data


def _train(options: argparse.Namespace) -> None:
    recipe = _changed(find_recipe(options.recipe), options)
    recipe.build_learner()  # refuses a bad alpha before data are read
    at_least(1, iterations=options.iterations)
    _check_device(options.device)
    check_precision(options.precision or "float32", options.device)
    shard, device = join(options.device)
    try:
        _train_shard(recipe, options, shard, device)
    except BaseException:
        if shard.world > 1:  # torchrun ends all processes once one has ended: first the sentence that says why
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        leave(wait=False)
        raise
    leave()


def _train_shard(recipe: Recipe, options: argparse.Namespace, shard: Shard, device: str) -> None:
    out = options.out or (Path("runs") / recipe.name if options.resume else _free_folder(recipe.name))
    seed, source, precision = options.seed or 0, options.data or "auto", options.precision or "float32"
    if options.resume:
        begun = _begun(recipe.name, out, options, shard)
        recipe, seed, precision = begun.recipe, begun.seed, begun.precision
        source = begun.data if begun.data in ("omniglot", "glyphs") else source
        if done := _already(recipe, begun, options.iterations or recipe.meta_iterations, out):
            if shard.rank == 0:
                print(done)
            return
    with shard.rank0_first():
        characters = _load_data(recipe, source, options)
    train_part, held_out = (
        characters and characters.split(part, recipe.split).to(device) for part in ("train", "validation")
    )
    tasks, validation = recipe.build_training_tasks(train_part), recipe.build_tasks(held_out)
    facts = {"data": characters.source if characters else "sinusoid", "commit": _commit(), "processes": shard.world}
    if shard.rank == 0:
        print(f"Training {recipe.name} on {facts['data']} into {out}", flush=True)
    settings = Settings(
        iterations=options.iterations, seed=seed, device=device, engine=options.engine, chunk=options.chunk_tasks,
        precision=precision, resume=options.resume, validate_every=options.validate_every, shard=shard, metadata=facts,
        again=f"this command:\n  {_command_to_go_on(options, out)}",
    )  # fmt: skip
    record = TrainingRecord.from_json(train(recipe, tasks, validation, out, settings), out)
    if shard.rank == 0:
        after, last = record.iterations_run, describe(recipe, record.history[-1])
        print(f"After {after:,} meta-iterations and {record.wall_seconds:.0f} s: {last}")
        best = f"{describe(recipe, record.best)} after {record.best_iteration:,}"
        print(f"Best on validation: {best}, kept in {out / 'weights.pt'}")


def _begun(name: str, out: Path, options: argparse.Namespace, shard: Shard) -> TrainingRecord:
    """The training in `out`; where there is no folder yet, the unfinished one that the package ships, put there.

    Raises FileNotFoundError where there is neither, and ValueError where the options contradict it; then nothing is put.
    """
    shipped = find_unfinished(name, out)
    if not shipped and not out.exists():
        raise FileNotFoundError(
            f"There is no training in {out}, and the package ships no unfinished one of {name}: train first, "
            "without --resume."
        )
    path = shipped or out / CHECKPOINT
    state = checkpoints.load(shipped) if shipped else load_training(out, say=lambda text: None)
    begun = TrainingRecord.from_json(state, path)
    remedy = "leave out --resume to begin anew" if shipped else "choose another --out"
    begun.check_settings(_given(options, name), path, remedy)
    with shard.rank0_first():
        if shipped and shard.rank == 0:
            take_unfinished(name, out)
            at = f"at meta-iteration {begun.iterations_run:,}, in {out}"
            print(f"Going on from the training that the package ships, {at}.", flush=True)
    return begun


def _already(recipe: Recipe, begun: TrainingRecord, iterations: int, out: Path) -> str | None:
    """What to say of a training that has nothing left to do up to this meta-iteration; None where it has."""
    at, history = begun.iterations_run, begun.history
    if at < iterations or (at == iterations and (not history or history[-1]["iteration"] < at)):
        return None
    said = f"{out} is already at meta-iteration {at:,}, so there is nothing to do up to {iterations:,}."
    if not history:
        return f"{said} It has not been validated yet: a larger --iterations goes on with it."
    last, best = history[-1], begun.best
    return (
        f"{said} Its last validation, after {last['iteration']:,}: {describe(recipe, last)}; "
        f"the best, after {begun.best_iteration:,}: {describe(recipe, best)}, kept in {out / 'weights.pt'}."
    )


def _command_to_go_on(options: argparse.Namespace, out: Path) -> str:
    """The command that resumes this training, to be copied: what is not in the checkpoint is given again."""
    usual = build_parser().parse_args(["train", options.recipe])
    command = [sys.orig_argv[0], "-m", "maml_core", "train", options.recipe]
    for name in ("iterations", "device", "engine", "chunk_tasks", "validate_every"):
        if getattr(options, name) != getattr(usual, name):
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    command += ["--no-download"] if options.no_download else []
    return shlex.join([*command, "--resume", "--out", str(out)])


def _given(options: argparse.Namespace, recipe: str) -> dict[str, Any]:
    """What the command line asks for of what a checkpoint decides: the recipe, changes to it, seed, data and precision."""
    names = [*(f.name for f in fields(Recipe) if f.name != "name"), "seed", "data", "precision"]
    asked = {name: getattr(options, name, None) for name in names}
    return {"name": recipe} | {name: value for name, value in asked.items() if value not in (None, "auto")}


def _free_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on: a new training never overwrites an old one."""
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder
