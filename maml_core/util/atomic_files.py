"""Atomic file writes, and folders that one process has to itself."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

LOCK = ".lock"  # there only while a process has the folder


def write_whole(path: Path, write: Callable[[IO[bytes]], object], previous: Path | None = None) -> None:
    """Write a temporary file, flush it to disk, rename it: readers of `path` see the old content or the new, never a part.

    previous: where the old content is kept, written atomically as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            _copy_whole(path, previous)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check_writable(file: Path, remedy: str) -> None:
    """Raise OSError, ending in the remedy, if `file` could not be written; the check itself creates and changes nothing."""
    nearest = next(folder for folder in file.absolute().parents if os.path.lexists(folder))
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(f"{file} could not be written ({error.strerror}): {remedy}.") from error


def _copy_whole(path: Path, copy: Path) -> None:
    """A hard link where the file system has them, else a copy; `copy` is replaced atomically."""
    part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    os.replace(part, copy)


def remove_parts(folder: Path) -> None:
    """Delete temporary files that a killed process left behind; to be called only by the folder's sole user."""
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def sole_user(folder: Path, wait: float = 0.0) -> Iterator[bool]:
    """Hold an advisory lock on a folder: yields True, or False if another process has it.

    wait: seconds to wait until it is free. The lock is a file in the folder, which is removed with it. It ends with its
    process, however that ends: the file that a killed process leaves behind locks nobody out. Where there is no such
    folder, or nothing can be written into it, it always yields True.
    """
    if not folder.is_dir():
        yield True
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):
        yield True
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            os.unlink(
                lock.lock_file
            )  # before the release: a process that opened it meanwhile sees that, and makes a new one
        lock.release()
