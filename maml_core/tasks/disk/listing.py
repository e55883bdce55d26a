"""The contents of a data folder or zip archive, without what file managers, archivers and network drives leave behind."""

import os
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from zipfile import BadZipFile, ZipFile
from zipfile import Path as ZipMember

# Dot files and AppleDouble's "._x.png"; "__MACOSX"; Synology's "@eaDir", QNAP's "@Recycle"; "#recycle"; "$RECYCLE.BIN";
# "~snapshot". No data set that we read uses such names.
PREFIXES = (".", "__", "@", "#", "$", "~")
LEFTOVERS = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "desktop db", "desktop df", "network trash folder",
    "temporary items", "recycler", "system volume information", "found.000", "lost+found",
}  # fmt: skip

File: TypeAlias = Path | ZipMember
Listing: TypeAlias = "dict[str, File | Listing]"


def data_root() -> Path:
    """Where data lives: the environment variable MAML_DATA, else `data/` of the checkout, else `./data`.

    A relative MAML_DATA is relative to the checkout, too (without one: to the working directory), so that it is the same
    folder for the command line and for a notebook, whose kernel runs in notebooks/.
    """
    checkout = Path(__file__).resolve().parents[3]
    base = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
    return base / Path(os.environ.get("MAML_DATA") or "data").expanduser()


def is_leftover(name: str) -> bool:
    """Whether a file or folder of that name belongs to the operating system and is not data."""
    return name.startswith(PREFIXES) or name.lower() in LEFTOVERS


def entries(folder: Path) -> list[Path]:
    """The files and folders in a folder, sorted, without leftovers."""
    return sorted(path for path in folder.iterdir() if not is_leftover(path.name))


def listing(place: Path) -> Listing:
    """Everything in a folder or zip archive, as nested dictionaries by name, without leftovers at any depth.

    Folders are dictionaries, files have `open("rb")`. Raises BadZipFile for a damaged archive.
    """
    if place.is_dir():
        return {path.name: listing(path) if path.is_dir() else path for path in entries(place)}
    archive = ZipFile(place)
    found: Listing = {}
    for name in sorted(archive.namelist()):
        parts = PurePosixPath(name).parts
        if any(is_leftover(part) for part in parts):
            continue
        *folders, last = parts
        here = found
        for folder in folders:
            below = here.setdefault(folder, {})
            if not isinstance(below, dict):
                raise BadZipFile(f"{place} has {folder} as a file and as a folder.")
            here = below
        here.setdefault(last, {} if name.endswith("/") else ZipMember(archive, name))
    return found
