"""The paper's tables beside our results, as Markdown that is readable in a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..learners.registry import READERS
from ..recipes import RECIPES
from ..training.record import TrainingRecord
from .literature import OMNIGLOT, PAPER_ACCURACY, REPRODUCTIONS, SETTINGS, SINUSOID, Cell, Report
from .shipped import is_shipped, load_shipped, load_study

STEPS = (1, 5, 10)
ONE_THETA = "MAML, trained with K = 10"  # a method of `study error-against-steps`, as in section 5.1
FLAT = 15_000  # meta-iterations of flat validation (`TrainingRecord.flat_for`) after which a run may stop early


@dataclass(frozen=True)
class Row:
    """A recipe's accuracy beside the reported one, each (mean, half-width of the 95% interval).

    iterations, of:  meta-iterations so far, and of the whole recipe
    flat_for:        meta-iterations for which its validation accuracy has been flat (`TrainingRecord.flat_for`)
    trained_on:      device and precision, such as "GPU, tf32"
    """

    recipe: str
    reported: Cell
    ours: tuple[float, float] | None
    ours_15_queries: tuple[float, float] | None
    iterations: int
    of: int
    flat_for: int = 0
    trained_on: str = "CPU"

    @property
    def is_done(self) -> bool:
        """Whether it was trained in full, or stopped early because its validation accuracy had long been flat."""
        return self.iterations >= self.of or self.flat_for >= FLAT

    @property
    def short(self) -> float | None:
        """How far our accuracy is below the reported interval: 0 if it reaches it, None without both numbers."""
        if self.reported is None or self.ours is None:
            return None
        lowest = self.reported[0] - (self.reported[1] or 0)
        return max(0.0, round(lowest - self.ours[0], 6))

    @property
    def is_above(self) -> bool:
        """Whether our accuracy is above the reported interval."""
        if self.reported is None or self.ours is None:
            return False
        return self.ours[0] > self.reported[0] + (self.reported[1] or 0)


def accuracy_rows(evaluations: Mapping[str, Mapping[str, Any]] | None = None) -> list[Row]:
    """A row for every recipe of Table 1, from the shipped results.

    evaluations: {recipe: result of `measure`}, replacing the shipped ones
    """
    rows = []
    for name, recipe in RECIPES.items():
        if recipe.is_regression or recipe.variant in READERS:
            continue
        record = load_shipped(name)[1] if is_shipped(name) else TrainingRecord(recipe=recipe)
        evaluation = (evaluations or {}).get(name) or record.evaluation
        rows.append(Row(name, PAPER_ACCURACY.get(name), as_cell(evaluation), as_cell(record.evaluation_15_queries),
                        record.iterations_run, recipe.meta_iterations, record.flat_for, where(record)))  # fmt: skip
    return rows


def where(record: TrainingRecord) -> str:
    """The devices that it was trained on, and its precision unless that is float32: "CPU" or "GPU, tf32"."""
    devices = record.device.replace("cuda", "GPU").replace("cpu", "CPU").replace(", ", " and ")
    return devices if record.precision == "float32" else f"{devices}, {record.precision.replace(', ', ' and ')}"


def accuracy_table(rows: Iterable[Row] | None = None) -> str:
    """Table 1 by recipe: the reported accuracy, ours, whether ours reaches it, and how it was trained."""
    head = ["recipe", "reported", "here", "here, 15 queries", "reaches it", "meta-iterations", "on"]
    body = []
    for row in accuracy_rows() if rows is None else rows:
        reaches = "" if row.short is None else "yes" if row.short == 0 else f"no, {100 * row.short:.1f} short"
        body.append([f"`{row.recipe}`", as_printed(row.reported), percent(row.ours), percent(row.ours_15_queries),
                     reaches, length(row) if row.iterations else "not trained",
                     row.trained_on if row.iterations else ""])  # fmt: skip
    return markdown(head, body)


def standing(rows: Iterable[Row] | None = None) -> str:
    """Rows with a reported number as a Markdown list: trained to the end or not, within the reported interval or not.

    The end is the recipe's last meta-iteration, or a validation accuracy that has long been flat (`Row.is_done`).
    """
    rows = [row for row in (accuracy_rows() if rows is None else rows) if row.short is not None]
    groups = {
        "Finished, and within the reported interval or above": [r for r in rows if r.is_done and r.short == 0],
        "Finished, but short of it": [r for r in rows if r.is_done and r.short],
        "Unfinished": [r for r in rows if not r.is_done],
    }
    lines = []
    for group, found in groups.items():
        entries = [f"`{r.recipe}` {percent(r.ours)} (reported {as_printed(r.reported)}), {length(r)}" for r in found]
        lines += [f"- **{group}**: {'; '.join(entries)}."] if entries else []
    return "\n".join(lines)


def length(row: Row) -> str:
    """What `run_of` says, and of a run that stopped early how long it was flat: "36,000 of 60,000, flat for 20,000"."""
    return run_of(row) + (f", flat for {row.flat_for:,}" if row.is_done and row.iterations < row.of else "")


def run_of(row: Row) -> str:
    """ "8,000", or "5,800 of 60,000" for an unfinished run."""
    return f"{row.iterations:,} of {row.of:,}" if row.iterations < row.of else f"{row.of:,}"


def literature_table(reports: Iterable[Report] = OMNIGLOT) -> str:
    """Reported accuracies, method by method: by default the paper's Table 1 and later results."""
    body = [[row.method, *(as_printed(cell) for cell in row.cells), row.source] for row in reports]
    return markdown(["method", *(in_words(setting) for setting in SETTINGS), "from"], body)


def reproductions_table() -> str:
    """What others report of their own runs of MAML, its first order and Meta-SGD."""
    return literature_table(REPRODUCTIONS)


def error_table(evaluations: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Table 2: mean squared error after 1, 5 and 10 steps on five points. evaluations: as for `accuracy_rows`."""
    evaluation = (evaluations or {}).get("sinusoid-5shot") or load_shipped("sinusoid-5shot")[1].evaluation or {}
    study = [row for row in load_study("error-against-steps").rows if row["shots"] == 5]

    def ours(method: str) -> list[str]:
        found = {row["steps"]: row for row in study if row["method"] == method}
        cells = (found.get(step, found[0]) for step in STEPS)  # the oracle takes no steps
        return [error(cell["mean"], cell["ci95"]) for cell in cells]

    shipped = [error(evaluation["mse"][str(step)], evaluation["ci95"][str(step)]) for step in STEPS]
    body = [
        ["MAML", "the paper", *(f"{SINUSOID['MAML'][step]:.2f}" for step in STEPS)],
        ["MAML", "here, 5 query points a wave", *shipped],
        ["MAML", "here, 100 query points", *ours("MAML")],
        ["MAML", "here, 100 query points, theta trained with K = 10", *ours(ONE_THETA)],
        ["pretrained on all tasks", "the paper", *(f"{SINUSOID['pretrained on all tasks'][step]:.2f}" for step in STEPS)],
        ["pretrained on all tasks", "here, 100 query points", *ours("pretrained")],
        ["oracle, without a step", "here, 100 query points", *ours("oracle")],
    ]
    multi_task = [row for row in load_study("multi-task").rows if row["shots"] == 5]
    averaged = {(row["method"], row["seed"], row["steps"]): row for row in multi_task}
    for condition in dict.fromkeys(row["method"] for row in multi_task):
        method = f"multi-task, {condition}"
        body.append([method, "the paper", *(f"{SINUSOID[method][step]:.2f}" for step in STEPS)])
        for seed in sorted({row["seed"] for row in multi_task}):
            cells = (averaged[condition, seed, step] for step in STEPS)
            body.append([method, f"here, seed {seed}", *(error(cell["mean"], cell["ci95"]) for cell in cells)])
    return markdown(["method", "from", *(f"{step} step{'s' * (step > 1)}" for step in STEPS)], body)


def error(mean: float | None, ci95: float | None) -> str:
    """A mean squared error with its interval; "diverged" for None, JSON's null for a value that was not finite."""
    return "diverged" if mean is None or ci95 is None else f"{mean:.2f} ± {ci95:.2f}"


def in_words(setting: str) -> str:
    """ "5way-1shot" as "5-way 1-shot"."""
    return setting.replace("way-", "-way ").replace("shot", "-shot")


def percent(cell: Cell, digits: int = 1) -> str:
    """(0.987, 0.004) as "98.7 ± 0.4"; "–" for None."""
    if cell is None:
        return "–"
    return " ± ".join(f"{100 * value:.{digits}f}" for value in cell if value is not None)


def as_printed(cell: Cell) -> str:
    """A reported accuracy with as many decimals as its source prints: one or two."""
    digits = 1 if cell is None or all(round(100 * v, 1) == round(100 * v, 4) for v in cell if v is not None) else 2
    return percent(cell, digits)


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [list(head), *(list(row) for row in body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)


def as_cell(evaluation: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """A result of `measure` as (mean, half-width)."""
    return (evaluation["accuracy"], evaluation["ci95"]) if evaluation else None
