"""What pages say about a recipe: its accuracy, the reported one, and how long it was trained."""

import math
from collections.abc import Iterable

from ..recipes import RECIPES
from ..results.literature import PAPER_ACCURACY, reproduced
from ..results.literature import reported as reported_by
from ..results.shipped import is_shipped, load_cpu_record, load_shipped
from ..results.tables import Row, accuracy_rows, as_printed, percent, run_of

FAST, FAST_5WAY = "omniglot-20way-1shot-fast", "omniglot-5way-1shot-fast"
MEAN, SUM = "omniglot-5way-1shot", "omniglot-5way-1shot-sum"


def listed(values: Iterable[str], unit: str = "") -> str:
    """ "96.5 and 96.8%", or "95, 96 and 97%": the values in order, or a single one if they are all equal."""
    *others, last = values
    return (f"{', '.join(others)} and {last}" if set(others) - {last} else last) + unit


# Recipes


def row_of(recipe: str) -> Row:
    """A recipe's row in the accuracy table."""
    return next(row for row in accuracy_rows() if row.recipe == recipe)


def accuracy(recipe: str) -> str:
    """ "95.0 ± 0.4%", by the paper's protocol, for a recipe whose weights are shipped."""
    return f"{percent(row_of(recipe).ours)}%"


def reported(recipe: str) -> str:
    """ "95.8 ± 0.3%", as reported in the paper."""
    return f"{percent(PAPER_ACCURACY[recipe])}%"


def reported_for(method: str, setting: str) -> str:
    """ "96.2 ± 0.5%", a method's accuracy as reported by its authors."""
    return f"{as_printed(reported_by(method, setting))}%"


def reproductions(method: str, setting: str) -> str:
    """The lowest and the highest accuracy that others report of their own runs: "83.4 and 93.7%"."""
    means = [mean for mean, _ in reproduced(method, setting)]
    return listed([f"{100 * mean:.1f}" for mean in (min(means), max(means))], "%")


def verdict(recipe: str) -> str:
    """ "0.5 points short of the paper's interval", or "within" or "above" it; of first order, Nichol et al.'s."""
    row, whose = row_of(recipe), "Nichol et al.'s" if RECIPES[recipe].first_order else "the paper's"
    if row.short:
        return f"{100 * row.short:.1f} points short of {whose} interval"
    return f"{'above' if row.is_above else 'within'} {whose} interval"


def standing(recipe: str) -> str:
    """A complete predicate such as "reaches 95.0 ± 0.4% after ...", for a recipe that may not be trained yet."""
    if not is_shipped(recipe):
        return "has not been trained yet"
    row, best = row_of(recipe), load_shipped(recipe)[1].best_iteration
    rising = best == row.iterations < row.of and not row.flat_for and RECIPES[recipe].schedule == "constant"
    still = ", with its validation accuracy still rising" if rising else ""
    return f"reaches {accuracy(recipe)} after {run_of(row)} meta-iterations, {verdict(recipe)}{still}"


def flat(recipe: str) -> str:
    """Meta-iterations for which its validation accuracy has been flat: "19,600"."""
    return f"{row_of(recipe).flat_for:,}"


def minutes(recipe: str) -> str:
    """Minutes of one CPU core that its training run took."""
    return f"{(load_cpu_record(recipe).cpu_seconds or math.nan) / 60:.0f}"
