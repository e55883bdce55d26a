"""What was measured, as JSON and as a table with the goals."""

from typing import Any

OURS = "maml_core"

# (workload, against which family, at most this part of its time)
GOALS = (
    ("S", "jax", 0.75),
    ("S", "torchopt", 1 / 45),
    ("O", "torchopt", 0.20),
    ("O", "jax", 0.33),
    ("O20", "torchopt", 0.40),
)

Row = dict[str, Any]


def family(row: Row) -> str:
    """maml_core, torchopt, higher, learn2learn, jax or plain."""
    return row["implementation"].split()[0]


def fastest(rows: list[Row], workload: str, of: str, device: str) -> Row | None:
    """The fastest side of a family on a workload."""
    found = [row for row in rows if (row["workload"], family(row), row["device"]) == (workload, of, device)]
    return min(found, key=lambda row: row["median_ms"], default=None)


def add_ratios(rows: list[Row]) -> None:
    """ratio_to_ours: how many times as long as our fastest a side takes."""
    for row in rows:
        ours = fastest(rows, row["workload"], OURS, row["device"])
        row["ratio_to_ours"] = row["median_ms"] / ours["median_ms"] if ours else None


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A benchmark in which what was measured anew stands in for what was measured before."""

    def key(row: Row) -> tuple[str, str]:
        return row["workload"], row["device"]

    anew = {key(row) for row in new["rows"]}
    rows = [row for row in old.get("rows", []) if key(row) not in anew] + new["rows"]
    order = ["S", "O", "O20", "O5"]
    merged = old | new | {"rows": sorted(rows, key=lambda row: (row["device"], order.index(row["workload"])))}
    anew = {(point["sweep"], point["device"]) for point in new["sweeps"]}
    points = [point for point in old.get("sweeps", []) if (point["sweep"], point["device"]) not in anew]
    merged["sweeps"] = sorted(points + new["sweeps"], key=lambda point: (point["device"], point["sweep"]))
    return merged


def goals(rows: list[Row], device: str) -> list[Row]:
    """Each goal that the rows allow to be judged, with the ratio that was reached."""
    judged = []
    for workload, against, at_most in GOALS:
        ours, theirs = (fastest(rows, workload, of, device) for of in (OURS, against))
        if ours and theirs:
            ratio = ours["median_ms"] / theirs["median_ms"]
            told = {"workload": workload, "against": theirs["implementation"], "goal": at_most, "ratio": ratio}
            told["ratio_of_best"] = ours["best_ms"] / theirs["best_ms"]
            judged.append(told | {"reached": ratio <= at_most})
    return judged


def table(rows: list[Row]) -> str:
    """All rows, for people."""
    head = ("x ours", "of peak", "error", "float64")
    lines = [f"{'':4} {'implementation':22} {'device':6} {'ms':>10} {'best':>10} " + " ".join(f"{h:>8}" for h in head)]
    for row in rows:
        ratio = "" if row["ratio_to_ours"] is None else f"{row['ratio_to_ours']:.2f}"
        float64 = "" if row["gradient_error_float64"] is None else f"{row['gradient_error_float64']:.0e}"
        lines.append(
            f"{row['workload']:4} {row['implementation']:22} {row['device']:6} {row['median_ms']:10.3f} "
            f"{row['best_ms']:10.3f} {ratio:>8} "
            f"{100 * row['floor_fraction']:7.1f}% {row['gradient_error']:8.0e} {float64:>8}  {row['detail']}"
        )
    return "\n".join(lines)


def goals_table(judged: list[Row]) -> str:
    """The goals and what was reached."""
    lines = []
    for goal in judged:
        verdict = "reached" if goal["reached"] else "missed"
        lines.append(
            f"{goal['workload']:4} against {goal['against']:22} {goal['ratio']:.3f} "
            f"(goal {goal['goal']:.3f}) {verdict}; quickest samples {goal['ratio_of_best']:.3f}"
        )
    return "\n".join(lines)


LINES = {
    "maml_core compiled": "**maml_core, compiled**",
    "maml_core eager": "maml_core, eager",
    "plain": "the loop over tasks (`reference.py`)",
    "torchopt": "torchopt",
    "higher": "higher",
    "learn2learn": "learn2learn",
    "jax": "JAX",
}


def readme_table(rows: list[Row], device: str = "cpu") -> str:
    """The README's table: a line per library, its fastest way of each workload, in ms."""
    columns = {"S": "sinusoid, 10-shot", "O": "5-way 1-shot", "O20": "20-way 1-shot", "O5": "5-way 5-shot"}
    lines = ["| ms per meta-iteration | " + " | ".join(columns.values()) + " |", "|---|---|---|---|---|"]
    for start, title in LINES.items():
        cells = []
        for workload in columns:
            mine = [row for row in rows if (row["workload"], row["device"]) == (workload, device)]
            times = [row["median_ms"] for row in mine if row["implementation"].startswith(start)]
            cells.append("" if not times else f"{min(times):.2f}" if min(times) < 10 else f"{min(times):,.0f}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
