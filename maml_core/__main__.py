"""The command line: python -m maml_core train | evaluate | reproduce | study | publish | recipes."""

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from . import checkpoints
from .arguments import build_parser
from .characters import Characters, load_characters
from .checks import at_least
from .comparisons import families_table, navigation_table, records_table, variants_table
from .consoles import safe_consoles
from .episodes import seeded_generator
from .files import check_writable
from .images import MiniImageNet
from .keeper import CHECKPOINT, check_settings, load_training
from .precision import check_precision
from .progress import progress
from .recipes import READERS, RECIPES, Recipe, find_recipe
from .results import STUDY_FOLDER, is_shipped, load_shipped, measure, publish, unfinished_file, weights_name
from .rl.study import is_policy, publish_policy
from .shards import Shard, join, leave
from .studies import MEASURED, SAMPLED, TRAINED, WITHOUT_CHARACTERS, run_study, weights_of
from .tables import accuracy_rows, accuracy_table, error_table, literature_table
from .training import Settings, train
from .unfinished import find_unfinished, take_unfinished
from .validation import describe

TOO_LARGE = "There is not enough memory: lower --shots, --queries or --meta-batch, or take --chunk-tasks 1."


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 2 with one sentence on stderr for anything that a user can put right.

    A reader of stdout that leaves early (`| head -1`) has what it wanted: that is 0 as well, and a training goes on.
    """
    with safe_consoles() as out:
        status = _run(arguments)
        out.flush()
        if status == 0 and out.failure and not isinstance(out.failure, BrokenPipeError):
            print(f"maml_core: not all of the output could be written ({out.failure}).", file=sys.stderr)
            return 2
        return status


def _run(arguments: list[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options)
        return 0
    except (ValueError, OSError) as error:
        print(f"maml_core: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        print(f"maml_core: {TOO_LARGE}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signal", signal.SIGINT)


def _recipes(options: argparse.Namespace) -> None:
    print(f"{'recipe':34}{'network':>10}{'alpha':>7}{'inner steps':>13}{'meta-batch':>12}{'iterations':>12}  shipped")
    for r in RECIPES.values():
        shipped = "yes" if is_shipped(r.name) else ""
        if unfinished_file(r.name).exists():
            shipped += f", {load_shipped(r.name)[1]['iterations']:,} of {r.meta_iterations:,}"
        alpha = "-" if r.variant in READERS else r.alpha
        print(f"{r.name:34}{r.network:>10}{alpha:>7}{r.inner_steps:13}{r.meta_batch:12}{r.meta_iterations:12,}  {shipped}")


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
        leave(together=False)
        raise
    leave()


def _train_shard(recipe: Recipe, options: argparse.Namespace, shard: Shard, device: str) -> None:
    out = options.out or (Path("runs") / recipe.name if options.resume else _free_folder(recipe.name))
    seed, source, precision = options.seed or 0, options.data or "auto", options.precision or "float32"
    if options.resume:
        begun = _begun(recipe.name, out, options, shard)
        recipe, seed, precision = Recipe(**begun["recipe"]), begun["seed"], begun.get("precision", "float32")
        source = begun["data"] if begun.get("data") in ("omniglot", "glyphs") else source
        if done := _already(recipe, begun, options.iterations or recipe.meta_iterations, out):
            if shard.rank == 0:
                print(done)
            return
    with shard.first_one_first():
        characters = _characters(recipe, source, options)
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
    result = train(recipe, tasks, validation, out, settings)
    if shard.rank == 0:
        best, last = result["best"], result["history"][-1]
        print(f"After {result['iteration']:,} meta-iterations and {result['wall_seconds']:.0f} s: {describe(recipe, last)}")
        print(f"Best on validation: {describe(recipe, best)} after {best['iteration']:,}, kept in {out / 'weights.pt'}")


def _begun(name: str, out: Path, options: argparse.Namespace, shard: Shard) -> dict[str, Any]:
    """The training in `out`; where there is no folder yet, the unfinished one that the package ships, put there.

    Raises FileNotFoundError where there is neither, and ValueError where the options contradict it; then nothing is put.
    """
    shipped = find_unfinished(name, out)
    if not shipped and not out.exists():
        raise FileNotFoundError(
            f"There is no training in {out}, and the package ships no unfinished one of {name}: train first, "
            "without --resume."
        )
    begun = checkpoints.load(shipped) if shipped else load_training(out, say=lambda text: None)
    remedy = "leave out --resume to begin anew" if shipped else "choose another --out"
    check_settings(begun, _given(options, name), shipped or out / CHECKPOINT, remedy)
    with shard.first_one_first():
        if shipped and shard.rank == 0:
            take_unfinished(name, out)
            at = f"at meta-iteration {begun['iteration']:,}, in {out}"
            print(f"Going on from the training that the package ships, {at}.", flush=True)
    return begun


def _already(recipe: Recipe, begun: dict[str, Any], iterations: int, out: Path) -> str | None:
    """What to say of a training that has nothing left to do up to this meta-iteration; None where it has."""
    at, history = begun["iteration"], begun["history"]
    if at < iterations or (at == iterations and (not history or history[-1]["iteration"] < at)):
        return None
    said = f"{out} is already at meta-iteration {at:,}, so there is nothing to do up to {iterations:,}."
    if not history:
        return f"{said} It has not been validated yet: a larger --iterations goes on with it."
    last, best = history[-1], begun["best"]
    return (
        f"{said} Its last validation, after {last['iteration']:,}: {describe(recipe, last)}; "
        f"the best, after {best['iteration']:,}: {describe(recipe, best)}, kept in {out / 'weights.pt'}."
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


def _evaluate(options: argparse.Namespace) -> None:
    recipe = find_recipe(options.recipe)
    if options.weights:
        story = checkpoints.load(options.weights)
        theta = story["theta"]
    else:
        theta, story = load_shipped(recipe.name)
    if story["recipe"]["name"] == recipe.name:  # settings such as --inner-loss go with the weights
        recipe = Recipe(**story["recipe"])
    recipe = _changed(recipe, options)
    network = recipe.build_learner().network
    checkpoints.check_weights(theta, network, options.weights or f"The shipped {recipe.name}")
    _check_device(options.device)
    if options.tasks < 2:
        raise ValueError(f"--tasks must be at least 2 for an interval, not {options.tasks}.")
    characters = _characters(recipe, options.data or "auto", options)
    theta = {name: w.to(options.device) for name, w in theta.items()}
    result = measure(recipe, theta, characters, options.seed or 0, options.tasks, options.part)
    result["iterations"] = story["iteration"]
    print(checkpoints.as_json(result) if options.json else _for_people(recipe, result))


def _publish(options: argparse.Namespace) -> None:
    if is_policy(options.folder):
        story = publish_policy(options.folder)
        told = ", ".join(f"{mean:.2f}" for mean in story["evaluation"]["return"])
        print(f"{story['recipe']['name']} on 2-D navigation, average return by gradient steps: {told}")
        return
    weights = options.folder / "weights.pt"
    if not weights.exists() and (options.folder / CHECKPOINT).exists():
        raise ValueError(
            f"{options.folder} has no best theta to ship before its first validation: go on with it by --resume, "
            "with a smaller --validate-every if need be."
        )
    recipe = Recipe(**checkpoints.load(weights)["recipe"])
    story = publish(options.folder, _data(recipe, "omniglot"), options.name)
    print(_for_people(recipe, story["evaluation"]))
    if options.name in (None, recipe.name) and (unfinished := unfinished_file(recipe.name)).exists():
        at = f"meta-iteration {story['iterations']:,} of {recipe.meta_iterations:,}"
        print(f"It is at {at}: what it takes to go on with it is shipped too, in {unfinished}.")


def _reproduce(options: argparse.Namespace) -> None:
    again: dict[str, dict[str, Any]] = {}
    seeded_generator(options.seed)  # refuses a bad seed before data are read
    if options.evaluate:
        shipped = [name for name, recipe in RECIPES.items() if is_shipped(name) and recipe.data != "mini-imagenet"]
        characters = load_characters("omniglot")
        for name in progress(shipped, "evaluating"):
            again[name] = measure(find_recipe(name), load_shipped(name)[0], characters, options.seed)
    print("Accuracy in % (the paper's Table 1; first order as Nichol et al. 2018 report it)\n")
    print(accuracy_table(accuracy_rows(again)))
    print("\nOthers, as they report themselves\n")
    print(literature_table())
    print("\nThree families on the same episodes, equally long; reported: trained to the end\n")
    print(families_table())
    print("\nSinusoid, 5-shot, mean squared error (the paper's Table 2)\n")
    print(error_table(again))
    print("\nMAML's variants after the same short training, 5-way 1-shot (chapter 4)\n")
    print(variants_table())
    print("\n20-way 1-shot, how soon: minutes of one core to a validation accuracy\n")
    print(records_table())
    print("\n2-D navigation, average return by gradient steps (the paper's Figure 4, which prints no numbers)\n")
    print(navigation_table())


def _study(options: argparse.Namespace) -> None:
    _check_device(options.device)
    name = options.study
    path = STUDY_FOLDER / f"{name}.json" if options.ship else options.results or options.out / f"{name}.json"
    weights = STUDY_FOLDER / name if options.ship and weights_of(name) else None
    _check_places(options, path, weights)
    if name in MEASURED:
        result = MEASURED[name](None if name in WITHOUT_CHARACTERS else load_characters("omniglot"))
        for condition, content in result.pop("weights", {}).items():
            if weights:
                checkpoints.save(content, weights / weights_name(condition))
    elif name in SAMPLED:
        result = SAMPLED[name](
            options.out, tuple(options.seeds), options.iterations, options.device, {"commit": _commit()}
        )  # fmt: skip
    else:
        result = run_study(
            TRAINED[name], load_characters("omniglot"), options.out, tuple(options.seeds), options.iterations,
            options.device, {"commit": _commit()}, engine=options.engine, weights=weights,
        )  # fmt: skip
    result |= {"study": name, "torch": str(torch.__version__), "commit": _commit()}
    checkpoints.save(result, path)
    print(f"{result['question']} {len(result['rows'])} rows in {path}")


def _check_places(options: argparse.Namespace, results: Path, weights: Path | None) -> None:
    """OSError before any work where a study could not write its results, the weights that it ships, or its trainings."""
    remedy = "leave --ship out to write below runs/" if options.ship else "choose another --out, or --results"
    check_writable(results, remedy)
    if weights:
        for condition in weights_of(options.study):
            check_writable(weights / weights_name(condition), remedy)
    if options.study not in MEASURED:
        check_writable(options.out / options.study, "choose another --out")


def _for_people(recipe: Recipe, result: dict[str, Any]) -> str:
    head = f"{recipe.name} on {result['tasks']} tasks of {result['data']}"
    if recipe.is_regression:
        mse, ci95 = result["mse"], result["ci95"]
        rows = [f"  mean squared error after {step:>2} steps: {mse[step]:.3f} ± {ci95[step]:.3f}" for step in mse]
    else:
        rows = [f"  accuracy after {step:>2} steps: {100 * a:6.2f}%" for step, a in result["accuracy_by_step"].items()]
        rows.append(f"  reported: {100 * result['accuracy']:.2f} ± {100 * result['ci95']:.2f}% (95% interval)")
    return "\n".join([head, *rows])


def _changed(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe with what the command line changes of it."""
    given = {f.name: getattr(options, f.name, None) for f in fields(Recipe) if f.name != "name"}
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _given(options: argparse.Namespace, recipe: str) -> dict[str, Any]:
    """What the command line asks for of what a checkpoint decides: the recipe, changes to it, seed, data and precision."""
    names = [*(f.name for f in fields(Recipe) if f.name != "name"), "seed", "data", "precision"]
    asked = {name: getattr(options, name, None) for name in names}
    return {"name": recipe} | {name: value for name, value in asked.items() if value not in (None, "auto")}


def _characters(recipe: Recipe, source: str, options: argparse.Namespace) -> Characters | MiniImageNet | None:
    data = _data(recipe, source, download=not options.no_download)
    if data is not None and data.source == "glyphs" and source == "auto":
        print("Omniglot is not here and could not be fetched: these are made-up glyphs, whose numbers compare with "
              "no paper's.", file=sys.stderr)  # fmt: skip
    return data


def _data(recipe: Recipe, source: str, download: bool = False) -> Characters | MiniImageNet | None:
    """All parts of what the recipe learns; None for sine waves. source, download: of the characters."""
    if recipe.data == "omniglot":
        return load_characters(source, download=download)
    return MiniImageNet() if recipe.data == "mini-imagenet" else None


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA GPU that torch can use here: leave --device out to run on the CPU.")


def _free_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on: a new training never overwrites an old one."""
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def _commit(package: Path = Path(__file__).parent) -> str | None:
    """The commit of the checkout that `package` lies in, for the record of a training; None inside another project's."""
    command = ["git", "-C", str(package), "rev-parse", "--show-toplevel", "--short", "HEAD"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    top, commit = Path(told[0]), told[-1]
    return commit if top.resolve() == package.resolve().parent else None


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "reproduce": _reproduce,
    "study": _study,
    "publish": _publish,
    "recipes": _recipes,
}


if __name__ == "__main__":
    sys.exit(main())
