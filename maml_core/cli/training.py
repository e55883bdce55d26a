"""The `train` command: start or resume a training run."""

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
from ..results.unfinished import copy_unfinished, find_unfinished
from ..training import checkpoints
from ..training.checkpoints import CHECKPOINT, load_training
from ..training.loop import Settings, train
from ..training.monitor import describe
from ..training.record import TrainingRecord
from ..util.checks import at_least
from .arguments import build_parser
from .commands import _apply_changes, _check_device, _commit, _load_data_or_glyphs


def _train(options: argparse.Namespace) -> None:
    recipe = _apply_changes(find_recipe(options.recipe), options)
    recipe.build_learner()  # rejects a bad alpha before any data is read
    at_least(1, iterations=options.iterations)
    _check_device(options.device)
    check_precision(options.precision or "float32", options.device)
    shard, device = join(options.device)
    try:
        _train_shard(recipe, options, shard, device)
    except BaseException:
        if shard.world > 1:  # torchrun kills all processes once one has exited: print the error first
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        leave(wait=False)
        raise
    leave()


def _train_shard(recipe: Recipe, options: argparse.Namespace, shard: Shard, device: str) -> None:
    out = options.out or (Path("runs") / recipe.name if options.resume else _free_folder(recipe.name))
    seed, source, precision = options.seed or 0, options.data or "auto", options.precision or "float32"
    if options.resume:
        saved = _load_run(recipe.name, out, options, shard)
        recipe, seed, precision = saved.recipe, saved.seed, saved.precision_on(options.device)
        source = saved.data if saved.data in ("omniglot", "glyphs") else source
        if message := _nothing_to_do(recipe, saved, options.iterations or recipe.meta_iterations, out):
            if shard.rank == 0:
                print(message)
            return
    with shard.rank0_first():
        characters = _load_data_or_glyphs(recipe, source, options)
    train_part, held_out = (
        characters and characters.split(part, recipe.split).to(device) for part in ("train", "validation")
    )
    tasks, validation = recipe.build_training_tasks(train_part), recipe.build_tasks(held_out)
    metadata = {"data": characters.source if characters else "sinusoid", "commit": _commit(), "processes": shard.world}
    if shard.rank == 0:
        print(f"Training {recipe.name} on {metadata['data']} into {out}", flush=True)
    settings = Settings(
        iterations=options.iterations, seed=seed, device=device, engine=options.engine, chunk=options.chunk_tasks,
        precision=precision, resume=options.resume, validate_every=options.validate_every, shard=shard,
        metadata=metadata, resume_hint=f"this command:\n  {_resume_command(options, out)}",
    )  # fmt: skip
    record = TrainingRecord.from_json(train(recipe, tasks, validation, out, settings), out)
    if shard.rank == 0 and record.best is not None:
        after, last = record.iterations_run, describe(recipe, record.history[-1])
        print(f"After {after:,} meta-iterations and {record.wall_seconds:.0f} s: {last}")
        best = f"{describe(recipe, record.best)} after {record.best_iteration:,}"
        print(f"Best on validation: {best}, saved in {out / 'weights.pt'}")


def _load_run(name: str, out: Path, options: argparse.Namespace, shard: Shard) -> TrainingRecord:
    """The record of the run in `out`; if there is no folder yet, the package's unfinished run is copied there.

    Raises FileNotFoundError if there is neither, and ValueError, before anything is copied, if the options contradict it.
    """
    shipped = find_unfinished(name, out)
    if not shipped and not out.exists():
        raise FileNotFoundError(
            f"There is no training run in {out}, and the package ships no checkpoint of {name}: train first, "
            "without --resume."
        )
    path = shipped or out / CHECKPOINT
    state = checkpoints.load(shipped) if shipped else load_training(out, log=lambda text: None)
    saved = TrainingRecord.from_json(state, path)
    remedy = "leave out --resume to start a new run" if shipped else "choose another --out"
    saved.check_settings(_requested_settings(options, name), path, remedy, options.device)
    with shard.rank0_first():
        if shipped and shard.rank == 0:
            copy_unfinished(name, out)
            at = f"at meta-iteration {saved.iterations_run:,}, in {out}"
            print(f"Resuming the training run that ships with the package, {at}.", flush=True)
    return saved


def _nothing_to_do(recipe: Recipe, saved: TrainingRecord, iterations: int, out: Path) -> str | None:
    """The message for a run that has already reached (and validated) this meta-iteration; None for any other."""
    at, history = saved.iterations_run, saved.history
    if at < iterations or (at == iterations and (not history or history[-1]["iteration"] < at)):
        return None
    message = f"{out} is already at meta-iteration {at:,}, so there is nothing left to train up to {iterations:,}."
    last, best = history[-1] if history else None, saved.best
    if last is None or best is None:
        return f"{message} It has not been validated yet: continue it with a larger --iterations."
    return (
        f"{message} Its last validation, after {last['iteration']:,}: {describe(recipe, last)}; "
        f"the best, after {saved.best_iteration:,}: {describe(recipe, best)}, saved in {out / 'weights.pt'}."
    )


def _resume_command(options: argparse.Namespace, out: Path) -> str:
    """The command that resumes this run, ready to be copied, with every option that the checkpoint does not store."""
    defaults = build_parser().parse_args(["train", options.recipe])
    command = [sys.orig_argv[0], "-m", "maml_core", "train", options.recipe]
    for name in ("iterations", "device", "engine", "chunk_tasks", "validate_every"):
        if getattr(options, name) != getattr(defaults, name):
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    command += ["--no-download"] if options.no_download else []
    return shlex.join([*command, "--resume", "--out", str(out)])


def _requested_settings(options: argparse.Namespace, recipe: str) -> dict[str, Any]:
    """Settings on the command line that must match the checkpoint's: recipe, changes to it, seed, data and precision."""
    names = [*(f.name for f in fields(Recipe) if f.name != "name"), "seed", "data", "precision"]
    given = {name: getattr(options, name, None) for name in names}
    return {"name": recipe} | {name: value for name, value in given.items() if value not in (None, "auto")}


def _free_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on: a new run never overwrites an old one."""
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder
