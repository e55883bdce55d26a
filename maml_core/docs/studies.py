"""Numbers of the shipped studies, as README.md and docs/*.md print them."""

from collections.abc import Callable, Iterable
from typing import Any

from ..results.comparisons import family_seconds
from ..results.shipped import load_shipped, load_study, load_study_weights
from ..results.tables import as_cell, percent
from ..studies.multitask import COMPARED_SEEDS, SEEDS
from ..tasks.sinusoid import SinusoidTasks
from ..util.seeding import seeded_generator
from .recipes import listed


def study_accuracy(study: str, condition: str, protocol: str = "paper", seeds: slice = slice(None)) -> str:
    """Test accuracy of a condition for every seed or some of them, in %."""
    rows = [row for row in load_study(study).rows if row["condition"] == condition][seeds]
    return listed((f"{100 * row['judged'][protocol]['accuracy']:.1f}" for row in rows), "%")


def interval(study: str, condition: str) -> str:
    """Test accuracy of a condition for its first seed, with its interval."""
    row = next(row for row in load_study(study).rows if row["condition"] == condition)
    return f"{percent(as_cell(row['judged']['paper']))}%"


def length(study: str) -> str:
    """Meta-iterations of each training run of a study."""
    return f"{load_study(study).settings['iterations']:,}"


def batch_norm(*seen: tuple[str, int]) -> str:
    """Accuracy by (what batch norm sees, query pictures per class); given two, the points by which the first is ahead."""
    rows = {(row["sees"], row["queries"]): round(100 * row["mean"], 1) for row in load_study("query-batches").rows}
    first, *others = (rows[key] for key in seen)
    return f"{first:.1f}%" if not others else f"{first - others[0]:.1f}"


def at_alpha(recipe: str, multiple: float, steps: int) -> str:
    """Accuracy with a multiple of the alpha of training."""
    rows = load_study("alpha-at-test").rows
    (mean,) = (r["mean"] for r in rows if (r["recipe"], r["multiple"], r["steps"]) == (recipe, multiple, steps))
    return f"{100 * mean:.1f}%"


def policies(condition: str, alpha: float, what: Callable[[dict[str, Any]], str]) -> str:
    """A value for every seed's policy after 20 meta-iterations on 2-D navigation, adapted with alpha."""
    key = (condition, 20, alpha)
    rows = load_study("navigation").rows
    return listed(what(row) for row in rows if (row["condition"], row["iterations"], row["alpha"]) == key)


def average_return(condition: str, alpha: float, steps: int) -> str:
    """Average return after this number of policy gradient steps."""
    return policies(condition, alpha, lambda row: f"{row['return'][steps]:.1f}")


def table_4_return(condition: str, steps: int) -> str:
    """Average return after this number of steps with the reward of the paper's code, of each seed's policy in the end."""
    study = load_study("navigation-distance")
    late = [row for row in study.rows if (row["condition"], row["iterations"]) == (condition, study.settings["iterations"])]
    return listed(f"{row['return'][steps]:.1f}" for row in late)


def pretrained_alpha() -> float:
    """The tuned alpha of the first pretrained policy after 20 meta-iterations."""
    rows = load_study("navigation").rows
    return next(r["alpha"] for r in rows if (r["condition"], r["iterations"]) == ("pretrained", 20) and r["chosen"])


def layer_alpha(layer: int) -> str:
    """The alpha that a layer of the conv net learns when every layer adapts with its own."""
    theta, _ = load_study_weights("what-adapts", "everything")
    return f"{theta[f'alpha.conv{layer}'].item():.2f}".replace("-0.00", "0.00")


def last_block_time() -> str:
    """Time of a meta-iteration that only adapts the last block, in % of one that adapts everything."""
    seconds = {row["condition"]: row["cpu_seconds"] for row in load_study("what-adapts").rows}
    return f"{100 * seconds['last block'] / seconds['everything']:.0f}%"


def prototypes_time(ways: int) -> str:
    """Time of a meta-iteration of prototypes, in % of MAML's."""
    seconds = family_seconds()
    return f"{100 * seconds[f'{ways}way', 'prototypes'] / seconds[f'{ways}way', 'MAML']:.0f}%"


def first_validations() -> dict[str, dict[str, float]]:
    """{learner: its first validation} of the families at 5 ways."""
    return {row["condition"]: row["history"][0] for row in load_study("families-5way").rows}


def behind_at_first() -> str:
    """Percentage points by which MAML is behind prototypes at the first validation."""
    first = first_validations()
    return f"{100 * (first['prototypes']['validation'] - first['MAML']['validation']):.0f}"


def readers_20way() -> str:
    """Test accuracy of the learners that read the support set, at 20 ways."""
    rows = [row for row in load_study("families-20way").rows if row["condition"] != "MAML"]
    return listed((f"{100 * row['judged']['paper']['accuracy']:.1f}" for row in rows), "%")


def mean_ahead(at: Callable[[Iterable[int]], int]) -> str:
    """Points by which the mean is ahead of sum / K on validation tasks in the longer 20-way runs.

    at: chooses from the meta-iterations at which both were validated
    """
    mean, total = (
        {row["iteration"]: row["validation"] for row in load_shipped(f"omniglot-20way-1shot{ending}")[1].history}
        for ending in ("-mean", "")
    )
    n = at(mean.keys() & total.keys())
    return f"{100 * (mean[n] - total[n]):.1f} points after {n:,} meta-iterations"


def lost_by_turning() -> str:
    """Percentage points that the four learners lose on classes turned by 45 degrees: least and most."""
    mean = {(row["axis"], row["value"], row["learner"]): row["mean"] for row in load_study("families-shift").rows}
    learners = ("MAML", "prototypes", "matching", "memory")
    lost = [100 * (mean["turned", 0, name] - mean["turned", 45, name]) for name in learners]
    return f"{min(lost):.1f} to {max(lost):.1f}"


def remedies_ahead() -> str:
    """Percentage points at test by which turned classes alone, and jitter alone, are ahead of neither."""
    test = {row["condition"]: row["judged"]["paper"]["accuracy"] for row in load_study("overfitting").rows}
    alone = ("turned characters as classes", "jitter")
    return listed(f"{100 * (test[remedy] - test['neither']):.1f}" for remedy in alone)


def annealed_from() -> str:
    """The meta-iteration whose theta the study annealing trains on."""
    return f"{load_study('annealing').settings['after']:,}"


def lost_on_new() -> str:
    """Percentage points by which MAML's 20-way recipes, paper and mean, are at most better on training characters."""
    mean = {(row["recipe"], row["characters"]): row["mean"] for row in load_study("seen-and-new").rows}
    names = [f"omniglot-20way-1shot{ending}" for ending in ("", "-first-order", "-mean")]
    return f"{max(100 * (mean[name, 'training characters'] - mean[name, 'new characters']) for name in names):.1f}"


def memory(variant: str) -> str:
    """Peak memory of a meta-iteration with 1 and with 10 inner steps."""
    mb = {row["steps"]: row["peak_mb"] for row in load_study("variants-cost").rows if row["variant"] == variant}
    return f"{mb[1]:.0f} to {mb[10]:.0f} MB"


def regressors(condition: str) -> str:
    """Error of the average of 500 regressors after ten steps on five points, for both seeds."""
    rows = {(r["method"], r["seed"], r["shots"], r["steps"]): r["mean"] for r in load_study("multi-task").rows}
    return listed(f"{rows[condition, seed, 5, 10]:.2f}" for seed in SEEDS)


def after_ten_steps(method: str, key: str) -> str:
    """How many of 600 waves are "lost" after ten steps on five points, or their "median" error."""
    rows = load_study("error-against-steps").rows
    (row,) = (row for row in rows if (row["method"], row["shots"], row["steps"]) == (method, 5, 10))
    return f"{row[key]}" if key == "lost" else f"{row[key]:.2f}"


def generations(size: int) -> str:
    """The same error in the comparison where regressors are trained `size` at a time."""
    rows = {(r["generation"], r["seed"], r["steps"]): r["mean"] for r in load_study("multi-task").extra["by_generation"]}
    return listed(f"{rows[size, seed, 10]:.2f}" for seed in COMPARED_SEEDS)


def zero_error() -> str:
    """Error of a network that always predicts 0, on the multi-task study's waves."""
    generator, tasks = seeded_generator(0), SinusoidTasks(5, queries=100)
    errors = [tasks.sample(25, generator).query_y.square().mean().item() for _ in range(24)]
    return f"{sum(errors) / 24:.2f}"
