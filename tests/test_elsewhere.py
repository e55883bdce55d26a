"""The package as it is installed elsewhere, as in Colab: not from a checkout, and in another working directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PIP = [
    sys.executable,
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--no-build-isolation",
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package. It is built from a copy, since building writes into the checkout."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "installed"))
    shutil.copytree(ROOT / "maml_core", source / "maml_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run([*PIP, "--target", str(target), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def run_there(installed: Path, folder: Path, code: str) -> str:
    """The output of Python code in an empty folder, where maml_core is the installed one and no data are on disk."""
    env = os.environ | {"PYTHONPATH": str(installed), "MAML_DATA": str(folder / "no-data"), "MAML_DOWNLOAD": "0"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(package: Path) -> set[str]:
    return {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_every_file_of_the_package_is_installed(installed):
    assert files(installed / "maml_core") == files(ROOT / "maml_core")


def test_the_first_cell_of_every_chapter_runs(installed, tmp_path):
    """With the line that installs the package, in a comment."""
    cells = []
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        cells.append(next(cell.source for cell in notebook.cells if cell.cell_type == "code"))
    code = "\n".join(["import maml_core; print(maml_core.__file__)", *(f"exec({cell!r}, {{}})" for cell in cells)])
    assert len(cells) >= 8 and str(installed) in run_there(installed, tmp_path, code)


def test_panels_and_commands_work(installed, tmp_path):
    """A panel draws, the tables print, and weights and policies are found."""
    code = (
        "from maml_core import __main__ as cli\nfrom maml_core.panels.registry import PANELS\n"
        "from maml_core.tasks import load_characters\nimages = load_characters('glyphs').split('test').images\n"
        "for build in PANELS.values():\n    assert build(images).image.value\n"
        "assert cli.main(['reproduce']) == 0 and cli.main(['recipes']) == 0"
    )
    assert "| `omniglot-5way-1shot` " in run_there(installed, tmp_path, code)
    assert not list(tmp_path.iterdir())
