"""Execute notebooks top to bottom and save them in place: python notebooks/execute.py [NOTEBOOK ...]

What differs between two runs without saying anything to a reader is not saved: widget state and views,
progress bars, times, and the exact Python.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
CELL_TIMEOUT = 600
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Failed(Exception):
    """One sentence for the reader: which cell of which notebook, and why."""


def main(arguments: list[str]) -> int:
    """Execute the notebooks named, or all that begin with a digit; 1 when a cell fails."""
    os.environ["TQDM_DISABLE"] = "1"  # no progress bars in saved outputs; kernels inherit it
    paths = [Path(name) for name in arguments] or sorted(FOLDER.glob("[0-9]*.ipynb"))
    if not paths:
        print(f"No notebooks in {FOLDER}.", file=sys.stderr)
        return 1
    for path in paths:
        print(f"executing {path.name}", flush=True)
        try:
            notebook = execute(path)
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
        tidy(notebook)
        nbformat.write(notebook, path)
    return 0


def execute(path: Path) -> NotebookNode:
    """The notebook with fresh outputs; the file is only read. Its kernel runs in its folder, as in JupyterLab."""
    if not path.exists():
        raise Failed(f"There is no notebook {path}.")
    notebook = nbformat.read(path, as_version=4)
    position = 0

    def remember(cell: NotebookNode, cell_index: int) -> None:
        nonlocal position
        position = cell_index

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_start=remember,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    try:
        return client.execute()
    except CellExecutionError as error:
        reason = f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        reason = f"it ran for more than {CELL_TIMEOUT} s"
    except DeadKernelError:
        reason = "its kernel died"
    cell = notebook.cells[position]
    first_line = cell.source.strip().partition("\n")[0]
    where = f"{path.name}, cell {position + 1} of {len(notebook.cells)} ({first_line!r})"
    raise Failed(f"{where} failed: {reason}. The file was left as it was.")


def tidy(notebook: NotebookNode) -> None:
    """Drop what differs between runs, in place."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata.language_info = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _worth_saving(output)]


def _worth_saving(output: NotebookNode) -> bool:
    """False for stderr and for an output that has nothing but a widget's view, which is removed here."""
    if output.output_type == "stream":
        return output.name != "stderr"
    if "data" in output:
        output.data.pop(WIDGET_VIEW, None)
        return bool(output.data)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
