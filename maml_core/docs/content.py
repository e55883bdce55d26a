"""The content between the markers of README.md and docs/*.md, by the marker's name."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from ..results.comparisons import (
    families_table,
    gpu_table,
    navigation_table,
    overfitting_table,
    records_table,
    speed_rows,
    speed_table,
    variants_table,
)  # fmt: skip
from ..results.shipped import SHIPPED, load_cpu_record, load_gpu_check, load_study, load_study_weights
from ..results.tables import accuracy_table, as_cell, error_table, literature_table, percent
from ..studies.multitask import COMPARED_SEEDS, SEEDS
from ..studies.multitask_training import TO_THE_MEAN
from ..tasks.sinusoid import SinusoidTasks
from ..util.seeding import seeded_generator
from .recipes import FAST, FAST_5WAY, MEAN, SUM, accuracy, flat, listed, minutes, reported, standing, verdict

# Studies


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
    rows = load_study(f"families-{ways}way").rows
    each = {row["condition"]: row["cpu_seconds"] / row["history"][-1]["iteration"] for row in rows}
    return f"{100 * each['prototypes'] / each['MAML']:.0f}%"


def first_validations() -> dict[str, dict[str, float]]:
    """{learner: its first validation} of the families at 5 ways."""
    return {row["condition"]: row["history"][0] for row in load_study("families-5way").rows}


def behind_at_first() -> str:
    """Percentage points by which MAML is behind prototypes at the first validation."""
    first = first_validations()
    return f"{100 * (first['prototypes']['validation'] - first['MAML']['validation']):.0f}"


def lost_by_turning() -> str:
    """Percentage points that the four learners lose on classes turned by 45 degrees: least and most."""
    mean = {(row["axis"], row["value"], row["learner"]): row["mean"] for row in load_study("families-shift").rows}
    learners = ("MAML", "prototypes", "matching", "memory")
    lost = [100 * (mean["turned", 0, name] - mean["turned", 45, name]) for name in learners]
    return f"{min(lost):.1f} to {max(lost):.1f}"


def memory(variant: str) -> str:
    """Peak memory of a meta-iteration with 1 and with 10 inner steps."""
    mb = {row["steps"]: row["peak_mb"] for row in load_study("variants-cost").rows if row["variant"] == variant}
    return f"{mb[1]:.0f} to {mb[10]:.0f} MB"


def regressors(condition: str) -> str:
    """Error of the average of 500 regressors after ten steps on five points, for both seeds."""
    rows = {(r["method"], r["seed"], r["shots"], r["steps"]): r["mean"] for r in load_study("multi-task").rows}
    return listed(f"{rows[condition, seed, 5, 10]:.2f}" for seed in SEEDS)


def generations(size: int) -> str:
    """The same error in the comparison where regressors are trained `size` at a time."""
    rows = {(r["generation"], r["seed"], r["steps"]): r["mean"] for r in load_study("multi-task").extra["by_generation"]}
    return listed(f"{rows[size, seed, 10]:.2f}" for seed in COMPARED_SEEDS)


def zero_error() -> str:
    """Error of a network that always predicts 0, on the multi-task study's waves."""
    generator, tasks = seeded_generator(0), SinusoidTasks(5, queries=100)
    errors = [tasks.sample(25, generator).query_y.square().mean().item() for _ in range(24)]
    return f"{sum(errors) / 24:.2f}"


def speed(line: str, workload: str) -> str:
    """A cell of the speed table."""
    return f"{speed_rows()[line][workload]} ms"


def machine() -> str:
    """Where the times were measured."""
    about = json.loads((SHIPPED / "benchmark.json").read_text())["machine"]
    name = re.sub(r"\((R|TM)\)| Processor$", "", about["cpu"])
    return f"{about['cores']} cores ({name})"


def gpu_float64() -> str:
    """The largest relative error of a float64 meta-gradient on the GPU."""
    found = load_gpu_check()
    return f"{max(check['float64'] for name, check in found.items() if name.startswith('gradients')):.0e}"


CONTENT: dict[str, Callable[[], str]] = {
    "accuracy-table": accuracy_table,
    "error-table": error_table,
    "navigation-table": navigation_table,
    "literature-table": literature_table,
    "families-table": families_table,
    "variants-table": variants_table,
    "records-table": records_table,
    "overfitting-table": overfitting_table,
    "speed-table": speed_table,
    "speed-machine": machine,
    "gpu-table": gpu_table,
    "gpu-machine": lambda: f"an {load_gpu_check()['gpu']} with torch {load_gpu_check()['torch'].partition('+')[0]}",
    "gpu-float64": gpu_float64,
    "speed-ours": partial(speed, "maml_core compiled", "O"),
    "speed-jax": partial(speed, "jax", "O"),
    "speed-torchopt": partial(speed, "torchopt", "O"),
    "maml-5way-accuracy": partial(accuracy, MEAN),
    "maml-5way-reported": partial(reported, MEAN),
    "mlp-accuracy": partial(accuracy, f"{MEAN}-mlp"),
    "mlp-reported": partial(reported, f"{MEAN}-mlp"),
    "sum-5way-standing": partial(standing, SUM),
    "maml-20way-standing": partial(standing, "omniglot-20way-1shot"),
    "first-order-20way-standing": partial(standing, "omniglot-20way-1shot-first-order"),
    "first-order-5way-standing": partial(standing, "omniglot-5way-1shot-first-order"),
    "5shot-flat": partial(flat, "omniglot-5way-5shot"),
    **{f"{kind}5shot-standing": partial(standing, f"omniglot-5way-5shot{ending}")
       for kind, ending in (("", ""), ("first-order-", "-first-order"), ("fast-", "-fast"))},
    "fast-20way-5shot-standing": partial(standing, "omniglot-20way-5shot-fast"),
    "seeds-5way": partial(study_accuracy, "seeds", "5-way 1-shot"),
    "seeds-20way": partial(study_accuracy, "seeds", "20-way 1-shot"),
    "seeds-20way-others": partial(study_accuracy, "seeds", "20-way 1-shot", seeds=slice(1, None)),
    "seeds-20way-without-jitter": partial(study_accuracy, "seeds", "20-way 1-shot, without jitter"),
    "best-on-cpu": lambda: f"{percent(as_cell(load_cpu_record('omniglot-20way-1shot-best').evaluation))}%",
    "fast-20way-accuracy": partial(accuracy, FAST),
    "fast-20way-reported": partial(reported, FAST),
    "fast-20way-verdict": partial(verdict, FAST),
    "fast-20way-minutes": partial(minutes, FAST),
    "fast-20way-standing": partial(standing, FAST),
    "fast-5way-minutes": partial(minutes, FAST_5WAY),
    "fast-5way-standing": partial(standing, FAST_5WAY),
    "best-20way-standing": partial(standing, "omniglot-20way-1shot-best"),
    "best-5way-standing": partial(standing, "omniglot-5way-1shot-best"),
    "batch-norm-one": partial(batch_norm, ("query batch", 1)),
    "batch-norm-fifteen": partial(batch_norm, ("query batch", 15)),
    "batch-norm-alone": partial(batch_norm, ("support", 15)),
    "batch-norm-difference": partial(batch_norm, ("query batch", 1), ("support", 15)),
    **{f"loss-scale-{ways}way-{name}": partial(study_accuracy, f"loss-scale-{ways}way", condition)
       for ways in (5, 20) for name, condition in (("mean", "mean"), ("sum", "sum / K"))},
    **{f"loss-scale-{ways}way-length": partial(length, f"loss-scale-{ways}way") for ways in (5, 20)},
    "order-second": partial(interval, "order", "second order"),
    "order-first": partial(interval, "order", "first order"),
    "order-length": partial(length, "order"),
    **{f"trained-on-{on}-tested-on-{to}": partial(study_accuracy, "rotations", f"trained on {on}", f"{to} characters")
       for on in ("turned", "upright") for to in ("turned", "upright")},
    "alpha-tenth": partial(at_alpha, MEAN, 0.1, 3),
    "alpha-same": partial(at_alpha, MEAN, 1, 3),
    "alpha-twice": partial(at_alpha, MEAN, 2, 1),
    "alpha-twice-sum": partial(at_alpha, SUM, 2, 1),
    "navigation-before": partial(average_return, "MAML", 0.1, 0),
    "navigation-maml": partial(average_return, "MAML", 0.1, 1),
    "navigation-pretrained": partial(average_return, "pretrained", 0.1, 1),
    "navigation-alpha": lambda: f"{pretrained_alpha():g}",
    "navigation-pretrained-tuned": lambda: average_return("pretrained", pretrained_alpha(), 1),
    **{f"alpha-conv{layer}": partial(layer_alpha, layer) for layer in (1, 2, 3, 4)},
    **{f"adapts-{what.replace(' ', '-')}": partial(study_accuracy, "what-adapts", what)
       for what in ("everything", "body", "head", "last block")},
    "adapts-length": partial(length, "what-adapts"),
    "last-block-time": last_block_time,
    "families-5way-length": partial(length, "families-5way"),
    "families-20way-length": partial(length, "families-20way"),
    "families-5way-first": lambda: f"{first_validations()['MAML']['iteration']:,}",
    "families-5way-gap-first": behind_at_first,
    "families-5way-time": partial(prototypes_time, 5),
    "families-20way-time": partial(prototypes_time, 20),
    "families-turned": lost_by_turning,
    "variants-length": partial(length, "variants"),
    "memory-maml": partial(memory, "MAML"),
    "memory-imaml": partial(memory, "iMAML"),
    "regressors-to-the-mean": partial(regressors, TO_THE_MEAN),
    "regressors-one": partial(generations, 1),
    "regressors-many": partial(generations, 25),
    "zero-error": zero_error,
}  # fmt: skip
