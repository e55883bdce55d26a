"""A reader runs cells again, goes back up, and takes the next chapter into the same kernel: no notebook breaks."""

import ast
import builtins
import dis
import os
import re
import symtable
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import nbformat
import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

CHAPTERS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("[0-9]*.ipynb"))
CELL_TIMEOUT = 120  # seconds, as in the Makefile
# A generator that is drawn from and a trainer that trains do not start over when a cell is run again
ADVANCED_BY_USE = "[name for name, value in globals().items() if type(value).__name__ in ('Generator', 'MetaTrainer')]"

Cells = dict[int, str]  # the source of each code cell by its position in the file, from 1 as in `make notebooks`


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    """One kernel for all chapters, in their folder and without the network."""
    manager, client = start_new_kernel(cwd=str(CHAPTERS[0].parent), env=os.environ | {"MAML_DOWNLOAD": "0"})
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def cells(request: pytest.FixtureRequest) -> Cells:
    """A chapter."""
    cells = nbformat.read(request.param, as_version=4).cells
    return {position: cell.source for position, cell in enumerate(cells, 1) if cell.cell_type == "code"}


def run(kernel: BlockingKernelClient, source: str) -> tuple[str, set[str]]:
    """Run a cell: the traceback of its error, if any, and the names of what is advanced by use."""
    reply = kernel.execute(source, user_expressions={"names": ADVANCED_BY_USE}, reply=True, timeout=CELL_TIMEOUT)
    if reply["content"]["status"] != "ok":
        return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(reply["content"].get("traceback", ["It did not run."]))), set()
    return "", set(ast.literal_eval(reply["content"]["user_expressions"]["names"]["data"]["text/plain"]))


def describe(position: int, source: str) -> str:
    """A cell by its place and its first line of code."""
    return f"cell {position} ({next(line for line in source.splitlines() if line and line[0] != '#')!r})"


def bound(source: str) -> set[str]:
    """The names that a cell binds."""
    symbols = symtable.symtable(source, "cell", "exec").get_symbols()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}


def taken(code: CodeType) -> set[str]:
    """The names that a cell reads before it binds them: another cell's, or Python's.

    A comprehension reads where it stands; a function when it is called, so all that its cell binds is its cell's own.
    """
    outer, called, own = set(), set(), set()
    for step in dis.get_instructions(code):
        if isinstance(step.argval, CodeType):
            is_comprehension = re.match("<(?!lambda)", step.argval.co_name)
            (outer if is_comprehension else called).update(taken(step.argval) - own)
        elif step.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            outer |= {step.argval} - own
        elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
            own.add(step.argval)
    return outer | (called - own)


def shared(cells: Cells) -> list[tuple[int, str, list[int]]]:
    """Each cell that takes a name from a cell, with that name and all cells that bind it."""
    found = []
    for position, source in cells.items():
        for name in sorted(taken(compile(source, "cell", "exec"))):
            makers = [maker for maker, other in cells.items() if name in bound(other)]
            found += [(position, name, makers)] * bool(makers)
    return found


def test_each_cell_runs_twice_in_the_kernel_of_all_chapters(kernel: BlockingKernelClient, cells: Cells) -> None:
    advanced: set[str] = set()
    for position, source in cells.items():
        for time in ("first", "second"):
            traceback, names = run(kernel, source)
            if traceback:
                pytest.fail(f"The {time} run of {describe(position, source)} failed:\n{traceback}", pytrace=False)
            advanced |= names
    goes_on = [
        f"A second run of {describe(position, cells[position])} goes on where {name} was left: make {name} in that cell."
        for position, name, _ in shared(cells)
        if name in advanced
    ]
    assert not goes_on, "\n".join(goes_on)


def test_a_name_that_cells_share_is_bound_by_one_of_them(cells: Cells) -> None:
    # Otherwise whoever goes back up runs a cell on what a later one left under the same name
    ambiguous = [
        f"{describe(position, cells[position])} reads {name}, which cells {makers} bind"
        for position, name, makers in shared(cells)
        if makers[1:] or position in makers
    ]
    assert not ambiguous, "\n".join(ambiguous)


def test_no_name_hides_a_builtin(cells: Cells) -> None:
    # The next chapter in the same kernel would still find it hidden
    assert not {name for source in cells.values() for name in bound(source) if hasattr(builtins, name)} - {"_"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("y = x + 1", {"x"}),
        ("x = x + 1", {"x"}),
        ("x = 0\nx += 1", set()),
        ("x += 1", {"x"}),
        ("x = [x for x in y]", {"y"}),
        ("x = [x + z for z in y]", {"x", "y"}),
        ("for x in y:\n    z = x", {"y"}),
        ("def f(a):\n    return a + x\nx = 1", set()),
        ("f = lambda a: a + x", {"x"}),
        ("x.append(1)", {"x"}),
        ("import torch\ntorch.zeros(1)", set()),
    ],
)
def test_names_taken_are_those_read_before_they_are_bound(source: str, names: set[str]) -> None:
    assert taken(compile(source, "cell", "exec")) == names
