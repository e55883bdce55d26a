"""The content between the markers of README.md and docs/*.md, by the marker's name."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..results.comparisons import (
    annealing_table,
    families_table,
    navigation_table,
    overfitting_table,
    pointmass_table,
    records_table,
    seen_table,
    variants_table,
)  # fmt: skip
from ..results.shipped import load_benchmark, load_cpu_record, load_gpu_check
from ..results.speed import WITH_BF16, gpu_table, machine, processors_table, speed_rows, speed_table
from ..results.tables import ONE_THETA, accuracy_table, as_cell, error_table, literature_table, percent, reproductions_table
from ..studies.multitask_training import TO_THE_MEAN
from ..studies.shrinking import AUTHORS, OURS
from .recipes import (
    FAST,
    FAST_5WAY,
    MEAN,
    SUM,
    accuracy,
    flat,
    minutes,
    reported,
    reported_for,
    reproductions,
    standing,
    verdict,
)  # fmt: skip
from .studies import (
    after_ten_steps,
    annealed_from,
    at_alpha,
    average_return,
    batch_norm,
    behind_at_first,
    first_validations,
    generations,
    interval,
    last_block_time,
    layer_alpha,
    length,
    lost_by_turning,
    lost_on_new,
    mean_ahead,
    memory,
    pretrained_alpha,
    prototypes_time,
    readers_20way,
    regressors,
    remedies_ahead,
    study_accuracy,
    table_4_return,
    zero_error,
)


def speed(line: str) -> str:
    """A line's cell for 5-way 1-shot in the table of speeds."""
    return f"{speed_rows()[line]['O']} ms"


def where_bf16_is_fast(side: str) -> dict[str, dict[str, Any]]:
    """{workload: row} of a side on the processor with bf16 products."""
    rows = load_benchmark(WITH_BF16)["rows"]
    return {row["workload"]: row for row in rows if row["implementation"] == side}


def of_bf16(workload: str, what: str, side: str = "maml_core compiled bf16") -> str:
    """The "gradient_cosine" or "gradient_norm_ratio" of a side with bf16 factors, at the initial theta."""
    return f"{where_bf16_is_fast(side)[workload][what]:.2f}"


def of_peak(side: str) -> str:
    """ "45 to 54%": the least and the largest part of a conv net's meta-iteration that its products take at the peak."""
    parts = [100 * row["floor_fraction"] for workload, row in where_bf16_is_fast(side).items() if workload != "S"]
    return f"{min(parts):.0f} to {max(parts):.0f}%"


def gpu_float64() -> str:
    """The largest relative error of a float64 meta-gradient on the GPU."""
    found = load_gpu_check()
    return f"{max(check['float64'] for name, check in found.items() if name.startswith('gradients')):.0e}"


CONTENT: dict[str, Callable[[], str]] = {
    "accuracy-table": accuracy_table,
    "error-table": error_table,
    "navigation-table": navigation_table,
    "pointmass-table": pointmass_table,
    "literature-table": literature_table,
    "reproductions-table": reproductions_table,
    "families-table": families_table,
    "variants-table": variants_table,
    "records-table": records_table,
    "overfitting-table": overfitting_table,
    "annealing-after": annealed_from,
    "annealing-length": partial(length, "annealing"),
    "annealing-table": annealing_table,
    "seen-table": seen_table,
    "seen-maml-difference": lost_on_new,
    "speed-table": speed_table,
    "speed-machine": machine,
    **{f"speed-{name}": partial(speed, line)
       for name, line in (("ours", "maml_core compiled"), ("jax", "jax"), ("torchopt", "torchopt"))},
    "processors-table": processors_table,
    **{f"bf16-{name}-{kind}": partial(of_bf16, workload, what)
       for workload, name in (("O", "5way"), ("O20", "20way"))
       for what, kind in (("gradient_cosine", "cosine"), ("gradient_norm_ratio", "length"))},
    **{f"bf16-{name}-cosine-jax": partial(of_bf16, workload, "gradient_cosine", "jax bf16")
       for workload, name in (("O", "5way"), ("O20", "20way"))},
    "peak-float32": partial(of_peak, "maml_core compiled"),
    "peak-bf16": partial(of_peak, "maml_core compiled bf16"),
    "gpu-table": gpu_table,
    "gpu-machine": lambda: f"an {load_gpu_check()['gpu']} with torch {load_gpu_check()['torch'].partition('+')[0]}",
    "gpu-float64": gpu_float64,
    "maml-5way-accuracy": partial(accuracy, MEAN),
    "maml-5way-reported": partial(reported, MEAN),
    "mlp-accuracy": partial(accuracy, f"{MEAN}-mlp"),
    "mlp-reported": partial(reported, f"{MEAN}-mlp"),
    "sum-5way-standing": partial(standing, SUM),
    "mean-20way-standing": partial(standing, "omniglot-20way-1shot-mean"),
    "maml-20way-standing": partial(standing, "omniglot-20way-1shot"),
    "maml-20way-accuracy": partial(accuracy, "omniglot-20way-1shot"),
    **{f"{name}-20way-reproduced": partial(reproductions, method, "20way-1shot")
       for name, method in (("maml", "MAML"), ("first-order", "first-order MAML"), ("meta-sgd", "Meta-SGD"))},
    **{f"{name}-20way-reported": partial(reported_for, method, "20way-1shot")
       for name, method in (("anil", "ANIL"), ("meta-sgd", "Meta-SGD"))},
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
    "batch-norm-alone": partial(batch_norm, ("support", 1)),
    "batch-norm-difference": partial(batch_norm, ("query batch", 1), ("support", 1)),
    **{f"loss-scale-{ways}way-{name}": partial(study_accuracy, f"loss-scale-{ways}way", condition)
       for ways in (5, 20) for name, condition in (("mean", "mean"), ("sum", "sum / K"))},
    "loss-scale-20way-ahead-first": partial(mean_ahead, min),
    "loss-scale-20way-ahead-last": partial(mean_ahead, max),
    **{f"loss-scale-{ways}way-length": partial(length, f"loss-scale-{ways}way") for ways in (5, 20)},
    **{f"precision-{name}": partial(interval, "precision", name) for name in ("float32", "bf16")},
    "precision-length": partial(length, "precision"),
    **{f"precision-20way-{name}": partial(study_accuracy, "precision-20way", name) for name in ("float32", "bf16")},
    "precision-20way-length": partial(length, "precision-20way"),
    "order-second": partial(interval, "order", "second order"),
    "order-first": partial(interval, "order", "first order"),
    "order-length": partial(length, "order"),
    "context-vector": partial(interval, "context-vector", "context vector"),
    "context-everything": partial(interval, "context-vector", "all weights"),
    "context-length": partial(length, "context-vector"),
    "context-navigation": partial(table_4_return, "context vector", 3),
    "context-navigation-maml": partial(table_4_return, "MAML", 3),
    **{f"trained-on-{on}-tested-on-{to}": partial(study_accuracy, "rotations", f"trained on {on}", f"{to} characters")
       for on in ("turned", "upright") for to in ("turned", "upright")},
    **{f"shrinking-{name}": partial(study_accuracy, "shrinking", trained_on, tested_on)
       for name, trained_on, tested_on in (
           ("ours", OURS, OURS), ("theirs", AUTHORS, AUTHORS), ("ours-on-theirs", OURS, AUTHORS),
           ("theirs-on-ours", AUTHORS, OURS))},
    "shrinking-length": partial(length, "shrinking"),
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
    "remedies-ahead": remedies_ahead,
    "families-5way-length": partial(length, "families-5way"),
    "families-20way-length": partial(length, "families-20way"),
    "families-20way-maml": partial(study_accuracy, "families-20way", "MAML"),
    "families-20way-readers": readers_20way,
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
    "one-theta-lost": partial(after_ten_steps, ONE_THETA, "lost"),
    "one-theta-median": partial(after_ten_steps, ONE_THETA, "median"),
    "own-theta-median": partial(after_ten_steps, "MAML", "median"),
}  # fmt: skip
