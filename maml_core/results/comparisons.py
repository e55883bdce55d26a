"""Markdown tables beyond the paper's own: variants, three families, navigation policies, records."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..recipes import find_recipe
from ..training.record import TrainingRecord
from .literature import NAVIGATION, reported
from .shipped import is_shipped, load_cpu_record, load_shipped, load_study
from .tables import as_cell, as_printed, in_words, markdown, percent

# A variant's name in the table of the literature, if its own paper reports 5-way 1-shot.
REPORTED_AS = {"MAML": "MAML", "first order": "first-order MAML", "Reptile": "Reptile, transductive",
               "Meta-SGD": "Meta-SGD", "MAML++": "MAML++", "iMAML": "iMAML, gradient descent"}  # fmt: skip


def variants_table() -> str:
    """MAML's variants on 5-way 1-shot after the same number of meta-iterations, and the cost of a meta-iteration."""
    study, cost = load_study("variants"), load_study("variants-cost").rows
    of = {(row["variant"], row["steps"]): row for row in cost}
    seeds = sorted({row["seed"] for row in study.rows})
    body = []
    for variant in dict.fromkeys(row["condition"] for row in study.rows):
        runs = [row["judged"] for row in study.rows if row["condition"] == variant]
        report = reported(REPORTED_AS[variant], "5way-1shot") if variant in REPORTED_AS else None
        body.append([variant, *(percent(as_cell(run["paper"])) for run in runs), percent(as_cell(runs[0]["15 queries"])),
                     f"{of[variant, 5]['median_ms']:.0f}", f"{of[variant, 1]['peak_mb']:.0f}",
                     f"{of[variant, 10]['peak_mb']:.0f}", as_printed(report)])  # fmt: skip
    head = ["variant", *(f"seed {seed}" for seed in seeds), "15 queries", "ms, 5 steps", "MB, 1 step", "MB, 10 steps"]
    return markdown([*head, "reported, in full"], body)


def navigation_table() -> str:
    """The top of Figure 4 as numbers: average return after 0 to 3 policy gradient steps, and distance at the end."""
    study = load_study("navigation")
    body = []
    for row in study.rows:
        if row["chosen"]:
            distances = " → ".join(f"{row['distance'][steps]:.2f}" for steps in (0, 1, 3))
            about = [row["condition"], f"{row['iterations']}, {row['seed']}", f"{row['alpha']:g}"]
            body.append([*about, *_returns(row), distances])
    best = f"{study.extra['best']:.2f} ± {study.extra['best_ci95']:.2f}"
    body.append(["straight to the goal, known in advance", "", "", best, "", "", "", ""])
    head = ["policy", "meta-iterations, seed", "alpha", "no step", "1 step", "2 steps", "3 steps"]
    return markdown([*head, "distance at the end, 0 → 1 → 3"], body)


def pointmass_table() -> str:
    """The paper's Table 4 beside policies trained and judged with the reward of the paper's code, minus the distance."""
    body = [[method, "the paper", "", "", *(f"{mean:.2f}" for mean in means)] for method, means in NAVIGATION.items()]
    for row in load_study("navigation-distance").rows:
        body.append([row["condition"], "here", str(row["iterations"]), str(row["seed"]), *_returns(row)])
    return markdown(["policy", "from", "meta-iterations", "seed", "no step", "1 step", "2 steps", "3 steps"], body)


def _returns(row: Mapping[str, Any]) -> list[str]:
    """A policy's average returns by number of steps, with their intervals."""
    return [f"{mean:.2f} ± {ci95:.2f}" for mean, ci95 in zip(row["return"], row["return_ci95"])]


# The method of the literature that each learner of the three families is compared with.
COMPARED_WITH = {"MAML": "MAML", "prototypes": "prototypical networks", "matching": "matching nets", "memory": "SNAIL"}


def family_seconds() -> dict[tuple[str, str], float]:
    """{("5way", learner): CPU seconds of a meta-iteration on one core}, wherever the learner was trained."""
    return {(f"{row['ways']}way", row["learner"]): row["cpu_seconds"] for row in load_study("families-cost").rows}


def families_table() -> str:
    """Three families on the same episodes: a row for every training run of the studies, beside the reported accuracy."""
    body, seconds = [], family_seconds()
    for ways in ("5way", "20way"):
        for row in load_study(f"families-{ways}").rows:
            method = COMPARED_WITH[row["condition"]]
            theirs = as_printed(reported(method, f"{ways}-1shot"))
            paper, many = (as_cell(row["judged"][protocol]) for protocol in ("paper", "15 queries"))
            body.append([row["condition"], in_words(f"{ways}-1shot"), f"{row['seed']}", f"{theirs} ({method})",
                         percent(paper), percent(many), f"{row['history'][-1]['iteration']:,}",
                         f"{seconds[ways, row['condition']]:.2f} s"])  # fmt: skip
    head = ["learner", "task", "seed", "reported", "here", "here, 15 queries", "meta-iterations", "time per meta-iteration"]
    return markdown(head, body)


# Changes to the paper's 20-way 1-shot recipe, and the recipe (or condition of what-adapts) whose CPU run shows each.
RECORDS = {
    "the paper's recipe: five steps of everything, sum / K": "omniglot-20way-1shot",
    "one step, an alpha learned for each layer, mean loss, a learning rate of 4e-3 that falls to 0": "everything",
    "the same, and the last block alone adapts": "last block",
    "the same for longer, with jittered pictures: `omniglot-20way-1shot-fast`": "omniglot-20way-1shot-fast",
    "turned characters as classes and averaging, for longer: `omniglot-20way-1shot-best`": "omniglot-20way-1shot-best",
}
MARKS = (0.8, 0.9, 0.95, 0.958)  # the paper reports the last


def records_table() -> str:
    """Minutes of one core until 20-way 1-shot reaches each of MARKS on validation characters, change by change."""
    study = {row["condition"]: row for row in load_study("what-adapts").rows if row["seed"] == 0}
    body = []
    for change, name in RECORDS.items():
        if name not in study and not is_shipped(name):
            continue
        record = _as_record(study[name]) if name in study else load_cpu_record(name)
        marks = [minutes_to(record, mark) for mark in MARKS]
        seconds = record.cpu_seconds or math.nan
        body.append([change, f"{seconds / record.iterations_run:.2f} s", *marks, f"{record.iterations_run:,}",
                     f"{seconds / 60:.0f}", percent(as_cell(record.evaluation))])  # fmt: skip
    head = ["what changed", "time per meta-iteration", *(f"to {100 * mark:g}%" for mark in MARKS)]
    return markdown([*head, "meta-iterations", "minutes", "test accuracy"], body)


def overfitting_table() -> str:
    """Accuracy on validation and test characters with each of the remedies against overfitting."""
    body = []
    for row in load_study("overfitting").rows:
        best, judged = row["best"], row["judged"]
        cells = [(best["validation"], best["ci95"]), as_cell(judged["paper"]), as_cell(judged["15 queries"])]
        body.append([row["condition"], *map(percent, cells)])
    return markdown(["remedy", "validation", "test", "test, 15 queries"], body)


def annealing_table() -> str:
    """20-way 1-shot, trained on with a constant and a falling learning rate: accuracy on training and new characters."""
    words = {"before": "(before, theta at the start)", "cosine": "falling to 0"}
    body = []
    for row in load_study("annealing").rows:
        cells = [percent((row[part]["mean"], row[part]["ci95"])) for part in ("train", "test")]
        body.append([words.get(row["condition"], row["condition"]), str(row.get("seed", "")), *cells])
    return markdown(["learning rate", "seed", "training characters", "new characters"], body)


def seen_table() -> str:
    """20-way 1-shot: the training loss at the end, and accuracy on tasks of training characters and of new ones."""
    body, mean = [], {(row["recipe"], row["characters"]): row for row in load_study("seen-and-new").rows}
    for name in dict.fromkeys(recipe for recipe, _ in mean):
        seen, new = (mean[name, f"{kind} characters"] for kind in ("training", "new"))
        history = load_shipped(name)[1].history  # which may have grown since the study
        loss = [row["loss"] for row in history if row["iteration"] <= seen["iterations"]][-1]
        cells = [percent((row["mean"], row["ci95"])) for row in (seen, new)]
        body.append(
            [f"`{name}`", f"{seen['iterations']:,}", f"{loss:.2f}", *cells, f"{100 * (seen['mean'] - new['mean']):.1f}"]
        )
    return markdown(
        ["recipe", "meta-iterations", "training loss", "training characters", "new characters", "difference"], body
    )


def _as_record(row: Mapping[str, Any]) -> TrainingRecord:
    """A training study's row as a record; its recipe is the named one, without the condition's changes."""
    own = {f.name: row[f.name] for f in fields(TrainingRecord) if f.name in row} | {"recipe": find_recipe(row["recipe"])}
    return TrainingRecord(**own, iterations_run=row["history"][-1]["iteration"], evaluation=row["judged"]["paper"])


def minutes_to(record: TrainingRecord, accuracy: float) -> str:
    """Minutes of one core until the validation accuracy first reached `accuracy`; "–" if it never did."""
    for row, seconds in zip(record.history, record.cpu_by_history, strict=True):
        if row["validation"] >= accuracy:
            return f"{seconds / 60:.1f}"
    return "–"
