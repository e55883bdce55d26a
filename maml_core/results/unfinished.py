"""Trainings that the package ships before their end: anybody, on any machine, goes on where they stopped."""

import os
import shutil
from pathlib import Path

from ..training.checkpoints import CHECKPOINT
from ..util.atomic_files import check_writable, write_whole
from . import shipped


def find_unfinished(name: str, out: Path) -> Path | None:
    """The shipped checkpoint to go on from in `out`; None where the recipe has none, or where `out` holds anything."""
    path = shipped.unfinished_file(name)
    is_free = not any(out.iterdir()) if out.is_dir() else not out.exists()  # nothing of the user's is there
    return path if is_free and path.exists() else None


def take_unfinished(name: str, out: Path) -> None:
    """Make `out` the folder of a recipe's shipped unfinished training, as `train` wrote it, whole or not at all.

    The best theta and the record so far are what the package ships of the recipe anyway. Raises OSError where it cannot
    be written.
    """
    check_writable(out / CHECKPOINT, "choose another --out")
    files = {CHECKPOINT: shipped.unfinished_file(name), "weights.pt": shipped.SHIPPED / f"{name}.pt",
             "history.json": shipped.SHIPPED / f"{name}.json"}  # fmt: skip
    folder = out.resolve()  # of a link to a larger disk, the link stays
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        for file, source in files.items():
            content = source.read_bytes()
            write_whole(part / file, lambda opened, content=content: opened.write(content))
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
