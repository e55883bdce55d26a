"""The paper's tables beside our results: reported values, printed tables, and figures."""

import json

import matplotlib
import pytest

from maml_core import __main__ as cli
from maml_core.cli import commands
from maml_core.learners import READERS
from maml_core.recipes import RECIPES
from maml_core.results import comparisons, load_shipped, load_study, speed, tables
from maml_core.results.literature import OMNIGLOT, PAPER_ACCURACY, REPRODUCTIONS, SETTINGS, SINUSOID, reported, reproduced
from maml_core.results.shipped import SHIPPED, load_cpu_record
from maml_core.studies import STUDIES
from maml_core.training.record import TrainingRecord
from tests.small import SMALL

matplotlib.use("Agg")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_literature_has_fractions_and_the_papers_rows():
    values = [cell for row in OMNIGLOT + REPRODUCTIONS for cell in row.cells if cell]
    assert all(0.8 < mean < 1 and (half is None or 0 < half < 0.02) for mean, half in values)
    assert reported("MAML", "20way-1shot") == (0.958, 0.003)
    assert reported("MANN, no conv", "20way-1shot") is None
    assert SINUSOID["MAML"] == {1: 0.67, 5: 0.38, 10: 0.35}
    assert len({row.method for row in OMNIGLOT}) == len(OMNIGLOT)


def test_reproductions_are_of_reported_methods_and_say_where_from():
    assert {row.method for row in REPRODUCTIONS} < {row.method for row in OMNIGLOT}
    assert all(row.source.startswith("https://github.com/") or "arXiv" in row.source for row in REPRODUCTIONS)
    assert reproduced("Meta-SGD", "20way-1shot") == [(0.954, None)] and reproduced("MAML++", "5way-1shot") == []
    body = [cells(line) for line in tables.reproductions_table().splitlines()[2:]]
    assert [line[3] for line in body if line[0] == "first-order MAML"] == ["94.5", "92.2"]


def test_every_recipe_of_table_1_has_a_reported_accuracy():
    for name, recipe in RECIPES.items():
        compared = not recipe.is_regression and recipe.split == "characters" and recipe.variant not in READERS
        assert (name in PAPER_ACCURACY) == compared, name
    assert {f"omniglot-{setting}" for setting in SETTINGS} <= RECIPES.keys()


@pytest.mark.parametrize(
    "ours, short",
    [((0.99, 0.004), 0.0), ((0.983, 0.004), 0.0), ((0.982, 0.004), 0.001), ((0.5, 0.01), 0.483), (None, None)],
)
def test_row_is_short_by_the_distance_of_its_mean_to_the_reported_interval(ours, short):
    row = tables.Row("omniglot-5way-1shot", (0.987, 0.004), ours, None, 100, 60_000)
    assert row.short == short
    assert tables.Row("new", None, (0.9, 0.01), None, 1, 1).short is None


def test_numbers_are_printed_with_the_decimals_of_their_source():
    assert tables.percent((0.9873, 0.0044)) == "98.7 ± 0.4" and tables.percent((0.97, None)) == "97.0"
    assert tables.as_printed((0.9768, 0.0004)) == "97.68 ± 0.04" and tables.as_printed((0.97, None)) == "97.0"
    assert tables.percent(None) == tables.as_printed(None) == "–"


def test_accuracy_table_shows_lengths_and_shortfalls():
    rows = [
        tables.Row("a", (0.987, 0.004), (0.99, 0.004), (0.97, 0.003), 60_000, 60_000),
        tables.Row("b", (0.987, 0.004), (0.9, 0.01), None, 500, 60_000),
        tables.Row("c", None, None, None, 0, 60_000),
        tables.Row("d", None, (0.9, 0.01), None, 36_000, 60_000, flat_for=20_000, trained_on="GPU, tf32"),
        tables.Row("e", None, (0.9, 0.01), None, 36_000, 60_000, flat_for=14_000),
    ]
    head, rule, *body = tables.accuracy_table(rows).splitlines()
    assert set(rule) == set("| -") and {len(line) for line in body} == {len(head)}
    assert cells(body[0]) == ["`a`", "98.7 ± 0.4", "99.0 ± 0.4", "97.0 ± 0.3", "yes", "60,000", "CPU"]
    assert cells(body[1]) == ["`b`", "98.7 ± 0.4", "90.0 ± 1.0", "–", "no, 8.3 short", "500 of 60,000", "CPU"]
    assert cells(body[2]) == ["`c`", "–", "–", "–", "", "not trained"]
    assert cells(body[3])[-2:] == ["36,000 of 60,000, flat for 20,000", "GPU, tf32"]
    assert cells(body[4])[-2:] == ["36,000 of 60,000", "CPU"]


def test_reproduce_prints_the_shipped_results(capsys):
    assert cli.main(["reproduce"]) == 0
    out = capsys.readouterr().out
    for name in (name for name, recipe in RECIPES.items() if not (recipe.is_regression or recipe.variant in READERS)):
        (line,) = (cells(line) for line in out.splitlines() if line.startswith(f"| `{name}` "))
        if (SHIPPED / f"{name}.pt").exists():
            evaluation = load_shipped(name)[1].evaluation
            assert line[2] == f"{100 * evaluation['accuracy']:.1f} ± {100 * evaluation['ci95']:.1f}"
        else:
            assert line[5] == "not trained"
    (mse,) = (cells(line) for line in out.splitlines() if "5 query points a wave" in line)
    assert mse[2].startswith(f"{load_shipped('sinusoid-5shot')[1].evaluation['mse']['1']:.2f} ±")
    assert tables.literature_table() in out and tables.reproductions_table() in out and comparisons.families_table() in out


def test_seen_table_has_loss_and_both_accuracies():
    body = [cells(line) for line in comparisons.seen_table().splitlines()[2:]]
    rows = load_study("seen-and-new").rows
    assert len(rows) == 2 * len(body)
    for line, seen, new in zip(body, rows[::2], rows[1::2]):
        history = load_shipped(seen["recipe"])[1].history
        loss = [row["loss"] for row in history if row["iteration"] <= seen["iterations"]][-1]  # the run may have gone on
        assert line[:3] == [f"`{new['recipe']}`", f"{seen['iterations']:,}", f"{loss:.2f}"]
        assert [float(cell.split(" ")[0]) for cell in line[3:5]] == [round(100 * row["mean"], 1) for row in (seen, new)]
        assert float(line[5]) == pytest.approx(100 * (seen["mean"] - new["mean"]), abs=0.051)


def test_annealing_table_has_both_accuracies():
    rows, body = load_study("annealing").rows, [cells(line) for line in comparisons.annealing_table().splitlines()[2:]]
    assert [line[0] for line in body] == ["(before, theta at the start)", "constant", "constant, averaged", "falling to 0"]
    for line, row in zip(body, rows, strict=True):
        assert line[1] == str(row.get("seed", ""))
        assert [float(cell.split(" ")[0]) for cell in line[2:]] == [
            round(100 * row[p]["mean"], 1) for p in ("train", "test")
        ]


def test_families_table_compares_every_run_with_its_paper():
    body = [cells(line) for line in comparisons.families_table().splitlines()[2:]]
    rows = [row for ways in ("5way", "20way") for row in load_study(f"families-{ways}").rows]
    assert len(body) == len(rows)
    cost = {(row["ways"], row["learner"]): row["cpu_seconds"] for row in load_study("families-cost").rows}
    assert len(cost) == len(body) and all(20 * seconds > 1 for seconds in cost.values())
    for line, row in zip(body, rows):
        judged, last = row["judged"]["15 queries"], row["history"][-1]
        assert line[0] == row["condition"] and line[5] == f"{100 * judged['accuracy']:.1f} ± {100 * judged['ci95']:.1f}"
        seconds = cost[int(line[1].partition("-")[0]), row["condition"]]
        assert line[6] == f"{last['iteration']:,}" and float(line[7][:-2]) == pytest.approx(seconds, abs=0.006)
    assert body[0][3] == "98.7 ± 0.4 (MAML)" and body[-1][3] == "97.64 ± 0.30 (SNAIL)"


def test_reproduce_with_evaluate_measures_again(monkeypatch, capsys, characters):
    """New numbers, from other tasks than the shipped evaluation's, replace the shipped ones."""
    seen = {}

    def measured(recipe, theta, characters, seed):
        seen[recipe.name] = seed
        if recipe.is_regression:
            return load_shipped(recipe.name)[1].evaluation
        return {"accuracy": 0.5, "ci95": 0.25}

    monkeypatch.setattr(commands, "measure", measured)
    monkeypatch.setattr(commands, "load_characters", lambda source: characters)
    assert cli.main(["reproduce", "--evaluate"]) == 0
    assert set(seen) == {path.stem for path in SHIPPED.glob("*.pt")} and set(seen.values()) == {1}
    (line,) = (cells(line) for line in capsys.readouterr().out.splitlines() if line.startswith("| `omniglot-5way-1shot` "))
    assert line[2] == "50.0 ± 25.0" and line[4].startswith("no, ")


def test_error_table_prints_diverged_for_null():
    """JSON has null for an error that is not finite."""
    evaluation = {"mse": {"1": 0.5, "5": None, "10": None}, "ci95": {"1": 0.25, "5": None, "10": 0.1}}
    lines = tables.error_table({"sinusoid-5shot": evaluation}).splitlines()
    (line,) = (cells(line) for line in lines if "5 query points" in line)
    assert line[2:] == ["0.50 ± 0.25", "diverged", "diverged"]


def test_variants_table_matches_the_study(capsys):
    head, _, *body = [cells(line) for line in comparisons.variants_table().splitlines()]
    assert [line[0] for line in body] == list(STUDIES["variants"].answer.conditions)
    for line in body:
        runs = [row for row in load_study("variants").rows if row["condition"] == line[0]]
        assert line[1:3] == [
            tables.percent((run["judged"]["paper"]["accuracy"], run["judged"]["paper"]["ci95"])) for run in runs
        ]
        (ten,) = (r for r in load_study("variants-cost").rows if (r["variant"], r["steps"]) == (line[0], 10))
        assert line[head.index("MB, 10 steps")] == f"{ten['peak_mb']:.0f}"
    assert {line[0]: line[-1] for line in body}["iMAML"] == "99.16 ± 0.35"
    assert cli.main(["reproduce"]) == 0 and comparisons.variants_table() in capsys.readouterr().out


def test_minutes_to_finds_the_first_validation_that_reaches_an_accuracy():
    history = [{"validation": v} for v in (0.7, 0.91, 0.89, 0.96)]
    record = TrainingRecord(recipe=SMALL, history=history, cpu_by_history=[60, 120, 180, 240.6])
    marks = [comparisons.minutes_to(record, mark) for mark in (0.5, 0.8, 0.9, 0.95, 0.97)]
    assert marks == ["1.0", "2.0", "2.0", "4.0", "–"]


def test_records_table_gets_faster_from_row_to_row():
    """Each change gets 20-way 1-shot to 80% sooner, except for the longer runs; the numbers are those of the files."""
    head, _, *body = [cells(line) for line in comparisons.records_table().splitlines()]
    first = [float(line[2]) for line in body[:3]]
    assert first == sorted(first, reverse=True) and first[0] > 50 * first[2]
    record = load_cpu_record("omniglot-20way-1shot")
    assert record.device == "cpu"
    at = next(i for i, row in enumerate(record.history) if row["validation"] >= 0.8)
    assert body[0][2] == f"{record.cpu_by_history[at] / 60:.1f}"
    assert body[0][head.index("meta-iterations")] == f"{record.iterations_run:,}"


def test_processors_table_has_a_line_for_each_conv_net_that_was_measured():
    _, _, *body = map(cells, speed.processors_table().splitlines())
    expected = []
    for path in speed.BENCHMARKS:
        measured = json.loads(path.read_text())
        assert measured["machine"]["cores"] == 2  # as the page says
        for workload, name in (("O", "5-way 1-shot"), ("O20", "20-way 1-shot"), ("O5", "5-way 5-shot")):
            line = [name]
            for side, precision in (("maml_core compiled", "float32"), ("maml_core compiled", "bf16"),
                                    ("jax", "float32"), ("torchopt", "float32")):  # fmt: skip
                times = [row["median_ms"] for row in measured["rows"] if row["workload"] == workload
                         and row["implementation"].startswith(side) and row["precision"] == precision]  # fmt: skip
                line.append(f"{min(times):,.0f}" if times else "–")
            expected += [line] if line[1] != "–" else []
    assert [row[1:] for row in body] == expected and len(body) >= 7
    assert len({row[0] for row in body}) == len(speed.BENCHMARKS)


def test_gpu_table_has_a_line_for_each_recipe_and_precision():
    seen = {
        "gpu": "a GPU",
        "gradients: a": {"float64": 1e-15, "float32": 2.4e-6},
        "timings: a": {
            "ms": {"eager, float32": 90.0, "graph, float32": 1.726},
            "minutes of a full training": {"eager, float32": 9.0, "graph, float32": 1.73},
        },
        "timings: b": {"ms": {"graph, tf32": 5.5}, "minutes of a full training": {"graph, tf32": 5.5}},
    }  # fmt: skip
    _, _, *body = map(cells, speed.gpu_table(seen).splitlines())
    assert body == [["`a`", "float32", "1.73", "1.7", "2e-06"], ["`b`", "tf32", "5.50", "5.5", "–"]]
    shipped = speed.gpu_rows()
    assert (
        shipped["omniglot-20way-1shot"]["float32"]["minutes"] < 12
        and shipped["omniglot-5way-1shot"]["float32"]["minutes"] < 2
    )
    for row in (row for rows in shipped.values() for row in rows.values()):
        assert row["ms"] > 0 and row.get("error", 0) < 1


def test_overfitting_table_has_the_numbers_of_the_study():
    rows = {row["condition"]: row for row in load_study("overfitting").rows}
    _, _, *body = [cells(line) for line in comparisons.overfitting_table().splitlines()]
    assert [line[0] for line in body] == list(rows) == ["neither", "turned characters as classes", "jitter", "both"]
    assert body[3][2] == tables.percent(tables.as_cell(load_shipped("omniglot-20way-1shot-best")[1].evaluation))


def test_trained_on_names_devices_and_precision():
    def on(device, precision):
        return tables.where(TrainingRecord(recipe=SMALL, device=device, precision=precision))

    assert on("cpu", "float32") == "CPU" and on("cuda", "tf32") == "GPU, tf32"
    assert on("cuda, cpu", "float32") == "GPU and CPU"
    assert on("cuda, cpu", "tf32, float32") == "GPU and CPU, tf32 and float32"


def test_standing_groups_rows_by_length_and_reported_interval():
    def row(name, ours, iterations, reported=(0.95, 0.01)):
        return tables.Row(name, reported, ours and (ours, 0.002), None, iterations, 100)

    rows = [row("a", 0.96, 100), row("b", 0.9, 100), row("c", 0.99, 7), row("d", 0.9, 100, None), row("e", None, 0)]
    rows.append(tables.Row("f", (0.95, 0.01), (0.96, 0.002), None, 36_000, 60_000, flat_for=20_000))
    assert tables.standing(rows).splitlines() == [
        "- **Finished, and within the reported interval or above**: `a` 96.0 ± 0.2 (reported 95.0 ± 1.0), 100; "
        "`f` 96.0 ± 0.2 (reported 95.0 ± 1.0), 36,000 of 60,000, flat for 20,000.",
        "- **Finished, but short of it**: `b` 90.0 ± 0.2 (reported 95.0 ± 1.0), 100.",
        "- **Unfinished**: `c` 99.0 ± 0.2 (reported 95.0 ± 1.0), 7 of 100.",
    ]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_shipped_with_its_metadata(name):
    study = load_study(name)
    assert study.study == name and study.rows and study.question and study.torch and study.commit
