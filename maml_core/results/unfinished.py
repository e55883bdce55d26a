"""Unfinished training runs that ship with the package, and can be resumed on any machine."""

import os
import shutil
from pathlib import Path

from ..training.checkpoints import CHECKPOINT
from ..util.atomic_files import check_writable, write_bytes_atomically
from . import shipped


def find_unfinished(name: str, out: Path) -> Path | None:
    """The shipped checkpoint to resume in `out`; None if the recipe has none, or if `out` exists and is not empty."""
    path = shipped.unfinished_file(name)
    is_free = not any(out.iterdir()) if out.is_dir() else not out.exists()  # never touch a user's files
    return path if is_free and path.exists() else None


def copy_unfinished(name: str, out: Path) -> None:
    """Copy a recipe's unfinished training run to the folder `out`, atomically.

    The best theta and the record are those that ship with the package anyway. Raises OSError if `out` cannot be written.
    """
    check_writable(out / CHECKPOINT, "choose another --out")
    files = {CHECKPOINT: shipped.unfinished_file(name), "weights.pt": shipped.SHIPPED / f"{name}.pt",
             "history.json": shipped.SHIPPED / f"{name}.json"}  # fmt: skip
    folder = out.resolve()  # keeps `out` a link, for instance to a larger disk
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        for file, source in files.items():
            write_bytes_atomically(part / file, source.read_bytes())
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
