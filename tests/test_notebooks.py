"""The notebooks as they are committed: executed in order, free of leftovers, easy to read. (nbval runs them.)"""

import re
from pathlib import Path
from statistics import median

import nbformat
import pytest
from nbformat import NotebookNode

from tests.data_cells import TAG, cells_that_read_characters

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
EXPECTED = {
    "00_start_here.ipynb", "01_sinusoid.ipynb", "02_hessian_vector_product.ipynb", "03_omniglot.ipynb",
    "04_variants.ipynb", "05_three_families.ipynb", "06_reinforcement_learning.ipynb",
    "07_your_own.ipynb",
}  # fmt: skip
LONGEST, TYPICAL = 15, 14


@pytest.fixture(params=sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Its code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    """All outputs of all its cells."""
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def test_all_notebooks_are_there() -> None:
    assert EXPECTED <= {path.name for path in FOLDER.glob("*.ipynb")}


def test_the_first_page_and_the_readme_lead_to_every_chapter() -> None:
    first_page = nbformat.read(FOLDER / "00_start_here.ipynb", as_version=4)
    (chapters,) = (cell.source for cell in first_page.cells if "## The map" in cell.source)
    assert not [name for name in EXPECTED - {"00_start_here.ipynb"} if f"]({name}) |" not in chapters]
    readme = (FOLDER.parent / "README.md").read_text()
    assert not [name for name in EXPECTED if f"](notebooks/{name}) |" not in readme]


def test_formulas_are_whole(notebook: NotebookNode) -> None:
    # A backslash that was escaped twice starts a new line and sets the command's name in italics
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert cell.source.count("$") % 2 == 0, cell.source
            assert not re.search(r"\\\\[a-zA-Z]", cell.source), cell.source


def test_was_executed_top_to_bottom(notebook: NotebookNode) -> None:
    # nbval passes a cell that was never executed, so that nothing else would notice
    cells = code_cells(notebook)
    assert cells
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_cells_that_read_characters_say_so(notebook: NotebookNode) -> None:
    # Without Omniglot they show something else than what is saved, and notebooks/conftest.py looks for the tag
    tagged = [position for position, cell in enumerate(notebook.cells) if TAG in cell.metadata.get("tags", [])]
    assert tagged == cells_that_read_characters(notebook)


@pytest.mark.parametrize(
    "cells, reading",
    [
        (["x = load_characters()", "y = 1"], [0]),
        (["x = load_characters().images", "y = x[0]", "print(y)"], [0, 1, 2]),
        (["x = load_characters()", "x = 1", "print(x)"], [0]),
        (["rows = []", "rows.append(load_characters())", "print(rows)"], [1, 2]),
        (["seen = {}", "seen[0] = load_characters()", "print(seen)"], [1, 2]),
        (["def f():\n    return load_characters()", "x = f()", "print(x)"], [0, 1, 2]),
        (["x = load_characters()\nfor y in x:\n    z = y", "print(z)", "for y in range(3):\n    print(y)"], [0, 1]),
        (["y = [x for x in load_characters()]", "x = 2", "print(x)", "print([y for y in range(3)])"], [0]),
        (["import figures\nfigures.draw(load_characters())", "figures.draw(1)"], [0]),
        (["from maml_core.tasks import load_characters", "f = lambda: load_characters()", "g = f"], [1, 2]),
    ],
)
def test_how_cells_that_read_characters_are_found(cells: list[str], reading: list[int]) -> None:
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    assert cells_that_read_characters(written) == reading


def test_saved_no_errors_and_no_progress_bars(notebook: NotebookNode) -> None:
    assert not [output.evalue for output in outputs(notebook) if output.output_type == "error"]
    assert not [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


def test_saved_no_widgets(notebook: NotebookNode) -> None:
    assert "widgets" not in notebook.metadata
    types = {mime for output in outputs(notebook) for mime in output.get("data", {})}
    assert not {mime for mime in types if mime.startswith("application/vnd.jupyter.widget")}


def test_panels_are_saved_as_pictures(notebook: NotebookNode) -> None:
    # GitHub shows no widgets: without a picture its readers would see nothing
    for cell in code_cells(notebook):
        shown = cell.source.rstrip().rpartition("\n")[2]
        if re.search(r"Panel\(|^Live\w+\(", shown) or re.search(rf"^{re.escape(shown)} = \w*Panel\(", cell.source, re.M):
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source


def test_tells_how_to_run_in_colab(notebook: NotebookNode) -> None:
    # A comment only: it must change nothing where the package is installed
    first = code_cells(notebook)[0].source
    assert re.search(r'^# %pip install -q "maml-core\[review\] @ git\+https://', first, re.M)


def test_code_cells_are_short(notebook: NotebookNode) -> None:
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert max(lengths) <= LONGEST
    assert median(lengths) <= TYPICAL


def test_defines_no_classes(notebook: NotebookNode) -> None:
    assert not [cell.source for cell in code_cells(notebook) if re.search(r"^\s*class\s+\w+", cell.source, re.M)]


def test_has_as_much_prose_as_code(notebook: NotebookNode) -> None:
    prose = sum(len(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose >= sum(len(cell.source) for cell in code_cells(notebook))


PACKAGE = FOLDER.parent / "maml_core"


def test_the_files_that_a_chapter_names_are_there(notebook: NotebookNode) -> None:
    """Of the package or of the repository, such as `training/loop.py` or `tests/test_maml.py`."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    named = set(re.findall(r"`((?:[\w-]+/)+[\w.-]+\.py|[a-z_]+\.py)`", prose))
    assert not [name for name in named if not any((root / name).exists() for root in (PACKAGE, FOLDER.parent))]


def test_what_chapter_1_cites_line_by_line_is_in_the_code() -> None:
    """Algorithm 1 beside the code: each fragment stands in the file that its row names, or in reference.py."""
    chapter = nbformat.read(FOLDER / "01_sinusoid.ipynb", as_version=4)
    (table,) = (cell.source for cell in chapter.cells if cell.source.startswith("| Algorithm 1"))
    rows = [line.rsplit(" | ", 1)[1] for line in table.splitlines() if re.match(r"\| \d", line)]
    cited = 0
    for row in rows:
        fragments = re.findall(r"`([^`]+)`", row)
        files = [name for name in fragments if name.endswith(".py")]
        text = "\n".join((PACKAGE / name).read_text() for name in [*files, "reference.py"])
        text = re.sub(r"\s+", "", text)
        for fragment in fragments:
            if fragment not in files:
                assert not [part for part in re.sub(r"\s+", "", fragment).split("...") if part.strip(",)") not in text], (
                    fragment
                )
                cited += 1
    assert len(rows) == 8 and cited >= 7
