"""The benchmark's results: JSON rows, and tables of them and of the goals."""

from typing import Any

OURS = "maml_core"

PYTORCH = ("torchopt", "higher", "learn2learn")

# (workload, how the names of our sides begin, our precision, the same for the sides compared with, the largest fraction of
# their time that meets the goal); the fastest side of each counts
GOALS: tuple[tuple[str, str, str, str | tuple[str, ...], float], ...] = (
    ("S", OURS, "float32", "jax", 0.75),
    ("S", OURS, "float32", "torchopt", 1 / 45),
    ("O", OURS, "float32", "torchopt", 0.14),
    ("O", OURS, "bf16", "torchopt", 0.085),
    ("O", OURS, "float32", "jax", 0.40),
    ("O", OURS, "bf16", "jax", 0.25),
    ("O", "maml_core module compiled", "float32", PYTORCH, 0.55),
    ("O", "maml_core module eager", "float32", PYTORCH, 0.80),
    ("O20", OURS, "float32", "torchopt", 0.20),
    ("O20", OURS, "bf16", "torchopt", 0.11),
    ("O5", OURS, "float32", "torchopt", 0.25),
    ("O5", OURS, "bf16", "torchopt", 0.14),
)
# Fractions of the measured peak at each precision, on the convolutional workloads.
PEAK_GOALS = {"float32": 0.45, "bf16": 0.35}

Row = dict[str, Any]


def fastest(
    rows: list[Row], workload: str, of: str | tuple[str, ...], device: str, precisions: tuple[str, ...] = ("float32",)
) -> Row | None:
    """The fastest side on a workload whose name begins with `of`, or one of them, and has one of these precisions."""
    matching = [row for row in rows if (row["workload"], row["device"]) == (workload, device)]
    matching = [row for row in matching if row["implementation"].startswith(of)]
    matching = [row for row in matching if row.get("precision", "float32") in precisions]
    return min(matching, key=lambda row: row["median_ms"], default=None)


def add_ratios(rows: list[Row]) -> None:
    """Add ratio_to_ours: a side's time divided by that of our fastest engine in float32."""
    for row in rows:
        ours = fastest(rows, row["workload"], OURS, row["device"])
        row["ratio_to_ours"] = row["median_ms"] / ours["median_ms"] if ours else None


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old benchmark, with new measurements replacing those of the same workload and device."""

    def key(row: Row) -> tuple[str, str]:
        return row["workload"], row["device"]

    replaced = {key(row) for row in new["rows"]}
    rows = [row for row in old.get("rows", []) if key(row) not in replaced] + new["rows"]
    order = ["S", "O", "O20", "O5"]
    merged = old | new | {"rows": sorted(rows, key=lambda row: (row["device"], order.index(row["workload"])))}
    replaced = {(point["sweep"], point["device"]) for point in new["sweeps"]}
    points = [point for point in old.get("sweeps", []) if (point["sweep"], point["device"]) not in replaced]
    merged["sweeps"] = sorted(points + new["sweeps"], key=lambda point: (point["device"], point["sweep"]))
    return merged


def goals(rows: list[Row], device: str) -> list[Row]:
    """Evaluate each goal for which there are rows: ratios of times, and fractions of the peak.

    In float32 we compare with the other library's float32, in bf16 with its fastest precision.
    """
    judged = []
    for workload, side, precision, against, at_most in GOALS:
        ours = fastest(rows, workload, side, device, (precision,))
        theirs = fastest(rows, workload, against, device, ("float32", precision))
        if ours and theirs:
            ratio = ours["median_ms"] / theirs["median_ms"]
            goal = {"workload": workload, "precision": precision, "implementation": ours["implementation"]}
            goal |= {"against": theirs["implementation"], "goal": at_most}
            goal |= {"ratio": ratio, "ratio_of_best": ours["best_ms"] / theirs["best_ms"]}
            judged.append(goal | {"reached": ratio <= at_most})
    for workload in ("O", "O20", "O5"):
        for precision, at_least in PEAK_GOALS.items():
            if ours := fastest(rows, workload, OURS, device, (precision,)):
                goal = {"workload": workload, "precision": precision, "implementation": ours["implementation"]}
                goal |= {"against": "the measured peak", "goal": at_least}
                judged.append(goal | {"ratio": ours["floor_fraction"], "reached": ours["floor_fraction"] >= at_least})
    return judged


def table(rows: list[Row]) -> str:
    """All rows as a readable table."""
    head = ("x ours", "of peak", "error", "cosine", "float64")
    lines = [f"{'':4} {'implementation':26} {'device':6} {'ms':>10} {'best':>10} " + " ".join(f"{h:>8}" for h in head)]
    for row in rows:
        ratio = "" if row["ratio_to_ours"] is None else f"{row['ratio_to_ours']:.2f}"
        float64 = "" if row["gradient_error_float64"] is None else f"{row['gradient_error_float64']:.0e}"
        cosine = f"{row['gradient_cosine']:.4f}" if "gradient_cosine" in row else ""  # missing from older benchmarks
        lines.append(
            f"{row['workload']:4} {row['implementation']:26} {row['device']:6} {row['median_ms']:10.3f} "
            f"{row['best_ms']:10.3f} {ratio:>8} "
            f"{100 * row['floor_fraction']:7.1f}% {row['gradient_error']:8.0e} {cosine:>8} {float64:>8}  "
            f"{row['detail']}"
        )
    return "\n".join(lines)


def goals_table(judged: list[Row]) -> str:
    """The goals, and whether they were reached, as a readable table."""
    lines = []
    for goal in judged:
        verdict = "reached" if goal["reached"] else "missed"
        best = f"; quickest samples {goal['ratio_of_best']:.3f}" if "ratio_of_best" in goal else ""
        lines.append(
            f"{goal['workload']:4} {goal['implementation']:26} of {goal['against']:22} {goal['ratio']:.3f} "
            f"(goal {goal['goal']:.3f}) {verdict}{best}"
        )
    return "\n".join(lines)
