"""All commands but `train`, and what they share with it: loading data, checking the device, changing a recipe."""

import argparse
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from ..learners.registry import READERS
from ..networks import Weights
from ..recipes import RECIPES, Recipe, find_recipe
from ..results.comparisons import families_table, navigation_table, pointmass_table, records_table, variants_table
from ..results.protocol import measure
from ..results.shipped import STUDY_FOLDER, is_shipped, load_shipped, publish, unfinished_file, weights_name
from ..results.tables import accuracy_rows, accuracy_table, error_table, literature_table, reproductions_table
from ..studies.navigation import is_policy, publish_policy
from ..studies.registry import STUDIES
from ..studies.study import Study, StudyContext
from ..tasks.characters import load_characters
from ..tasks.registry import TASKS, Data
from ..training import checkpoints
from ..training.checkpoints import CHECKPOINT
from ..training.record import TrainingRecord
from ..util.atomic_files import check_writable
from ..util.progress import progress
from ..util.seeding import seeded_generator


def _recipes(options: argparse.Namespace) -> None:
    print(f"{'recipe':34}{'network':>10}{'alpha':>7}{'inner steps':>13}{'meta-batch':>12}{'iterations':>12}  shipped")
    for r in RECIPES.values():
        shipped = _progress(r) if is_shipped(r.name) else ""
        alpha = "-" if r.variant in READERS else r.alpha
        print(f"{r.name:34}{r.network:>10}{alpha:>7}{r.inner_steps:13}{r.meta_batch:12}{r.meta_iterations:12,}  {shipped}")


def _progress(recipe: Recipe) -> str:
    """How far the shipped run of a recipe is: "yes" if it is finished; and whether its checkpoint ships if not."""
    at = load_shipped(recipe.name)[1].iterations_run
    if at >= recipe.meta_iterations:
        return "yes"
    without = "" if unfinished_file(recipe.name).exists() else ", without checkpoint"
    return f"yes, {at:,} of {recipe.meta_iterations:,}{without}"


def _evaluate(options: argparse.Namespace) -> None:
    recipe = find_recipe(options.recipe)
    theta, trained, iteration = _load_weights(recipe, options.weights)
    recipe = _apply_changes(trained, options)
    network = recipe.build_learner().network
    checkpoints.check_weights(theta, network, options.weights or f"The shipped {recipe.name}")
    _check_device(options.device)
    if options.tasks < 2:
        raise ValueError(f"--tasks must be at least 2 for an interval, not {options.tasks}.")
    characters = _load_data_or_glyphs(recipe, options.data or "auto", options)
    theta = {name: w.to(options.device) for name, w in theta.items()}
    result = measure(recipe, theta, characters, options.seed or 0, options.tasks, options.part, options.queries)
    result["iterations"] = iteration
    print(checkpoints.as_json(result) if options.json else _as_text(recipe, result))


def _load_weights(recipe: Recipe, path: Path | None) -> tuple[Weights, Recipe, int | None]:
    """theta from a file or the package, the recipe it was trained with, and its meta-iteration.

    Weights are evaluated with the settings of their own training, such as --inner-loss, unless they were trained with
    another recipe: then with this one's.
    """
    if path is None:
        theta, record = load_shipped(recipe.name)
        return theta, record.recipe, record.best_iteration
    content = checkpoints.load(path)
    is_same = content["recipe"]["name"] == recipe.name
    return content["theta"], TrainingRecord.from_json(content, path).recipe if is_same else recipe, content["iteration"]


def _publish(options: argparse.Namespace) -> None:
    if is_policy(options.folder):
        if options.name is not None:
            raise ValueError(f"{options.folder} holds a policy, which ships under its own name: leave --as out.")
        policy = publish_policy(options.folder)
        returns = ", ".join(f"{mean:.2f}" for mean in policy["evaluation"]["return"])
        print(f"{policy['recipe']['name']} on 2-D navigation, average return by gradient steps: {returns}")
        return
    weights = options.folder / "weights.pt"
    if not weights.exists() and (options.folder / CHECKPOINT).exists():
        raise ValueError(
            f"{options.folder} has no best theta to ship before its first validation: continue it with --resume, "
            "if need be with a smaller --validate-every."
        )
    recipe = TrainingRecord.from_json(checkpoints.load(weights), weights).recipe
    record = publish(options.folder, TASKS[recipe.data].load("omniglot", False), options.name)
    print(_as_text(recipe, record.evaluation or {}))
    if options.name in (None, recipe.name) and (unfinished := unfinished_file(recipe.name)).exists():
        at = f"meta-iteration {record.iterations_run:,} of {recipe.meta_iterations:,}"
        print(f"The run is at {at}: its checkpoint is shipped too, in {unfinished}.")


def _reproduce(options: argparse.Namespace) -> None:
    evaluations: dict[str, dict[str, Any]] = {}
    seeded_generator(options.seed)  # rejects a bad seed before any data is read
    if options.evaluate:
        shipped = [name for name, recipe in RECIPES.items() if is_shipped(name) and recipe.data != "mini-imagenet"]
        characters = load_characters("omniglot")
        for name in progress(shipped, "evaluating"):
            evaluations[name] = measure(find_recipe(name), load_shipped(name)[0], characters, options.seed)
    print("Accuracy in % (the paper's Table 1; first order as Nichol et al. 2018 report it)\n")
    print(accuracy_table(accuracy_rows(evaluations)))
    print("\nOther methods, as reported by their authors\n")
    print(literature_table())
    print("\nMAML, its first order and Meta-SGD, as reproduced by others\n")
    print(reproductions_table())
    print("\nThree families on the same episodes (reported: full training runs)\n")
    print(families_table())
    print("\nSinusoid, 5-shot, mean squared error (the paper's Table 2)\n")
    print(error_table(evaluations))
    print("\nMAML's variants after equally short training runs, 5-way 1-shot (chapter 4)\n")
    print(variants_table())
    print("\n20-way 1-shot: minutes of one CPU core until a validation accuracy is reached\n")
    print(records_table())
    print("\n2-D navigation, average return by gradient steps (the paper's Figure 4)\n")
    print(navigation_table())
    print("\nThe same with the reward of the paper's code (its Table 4)\n")
    print(pointmass_table())


def _study(options: argparse.Namespace) -> None:
    _check_device(options.device)
    study = STUDIES[options.study]
    path = STUDY_FOLDER / f"{study.name}.json" if options.ship else options.results or options.out / f"{study.name}.json"
    weights = STUDY_FOLDER / study.name if options.ship else None
    _check_outputs(options, study, path, weights)
    context = StudyContext(
        out=options.out, characters=lambda: load_characters("omniglot"), seeds=tuple(options.seeds),
        iterations=options.iterations, device=options.device, engine=options.engine, weights=weights,
        metadata={"commit": _commit()},
    )  # fmt: skip
    result = study.run(context)
    result.save(path)
    print(f"{result.question} {len(result.rows)} rows in {path}")


def _check_outputs(options: argparse.Namespace, study: Study, results: Path, weights: Path | None) -> None:
    """Raise OSError, before any work, if a study's results, the weights it ships or its training runs cannot be written."""
    remedy = "leave --ship out to write below runs/" if options.ship else "choose another --out, or --results"
    check_writable(results, remedy)
    if weights:
        for condition in study.ships:
            check_writable(weights / weights_name(condition), remedy)
    if study.trains:
        check_writable(options.out / study.name, "choose another --out")


def _as_text(recipe: Recipe, result: dict[str, Any]) -> str:
    head = f"{recipe.name} on {result['tasks']} tasks of {result['data']}"
    if recipe.is_regression:
        mse, ci95 = result["mse"], result["ci95"]
        rows = [f"  mean squared error after {step:>2} steps: {mse[step]:.3f} ± {ci95[step]:.3f}" for step in mse]
    else:
        rows = [f"  accuracy after {step:>2} steps: {100 * a:6.2f}%" for step, a in result["accuracy_by_step"].items()]
        rows.append(f"  reported: {100 * result['accuracy']:.2f} ± {100 * result['ci95']:.2f}% (95% interval)")
    return "\n".join([head, *rows])


def _apply_changes(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe with the changes from the command line."""
    given = {f.name: getattr(options, f.name, None) for f in fields(Recipe) if f.name != "name"}
    if recipe.test_queries == recipe.shots:  # K, which may change
        given["test_queries"] = options.shots
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _load_data_or_glyphs(recipe: Recipe, source: str, options: argparse.Namespace) -> Data | None:
    """All parts of the data that the recipe learns from; None for sine waves. Says so where they are glyphs."""
    data = TASKS[recipe.data].load(source, not options.no_download)
    if data is not None and data.source == "glyphs" and source == "auto":
        print("Omniglot was not found and could not be downloaded: using made-up glyphs, whose results cannot be "
              "compared with the paper's.", file=sys.stderr)  # fmt: skip
    return data


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA GPU that torch can use: leave --device out to run on the CPU.")


def _commit(package: Path = Path(__file__).parent.parent) -> str | None:
    """The commit of the checkout that contains `package`, for records; None outside of one, or inside another project."""
    command = ["git", "-C", str(package), "rev-parse", "--show-toplevel", "--short", "HEAD"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    top, commit = Path(lines[0]), lines[-1]
    return commit if top.resolve() == package.resolve().parent else None
