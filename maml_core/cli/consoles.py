"""Stdout and stderr that are readable in every encoding and never make a command fail."""

import codecs
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

# Substitutes for characters that the console's encoding lacks and that have no Unicode decomposition into ASCII.
PLAIN = {"→": "->", "±": "+/-", "×": "x", "·": "*", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"'}
ERRORS = "maml_core.readable"


def readable(error: UnicodeError) -> tuple[str | bytes, int]:
    """A codec error handler: a substitute for the first character that cannot be encoded, and where to continue."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8: unchanged
        return bytes([ord(character) - 0xDC00]), error.start + 1
    plain = PLAIN.get(character) or unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?", error.start + 1


codecs.register_error(ERRORS, readable)


class Console:
    """A stream whose writes never raise: after the first failure, stored in `failure`, output is discarded.

    So if a reader exits (`| head -1`), stderr is closed or the disk behind `> log` is full, only messages are lost, never
    the training run.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.closed_from_the_start = stream is None
        # Take the closed descriptor, the lowest free one, before a checkpoint does and C code prints into it.
        self.stream: Any = open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: SIM115
        self.failure: OSError | None = None
        if hasattr(self.stream, "reconfigure"):
            self._attempt(lambda: self.stream.reconfigure(errors=ERRORS))

    def write(self, text: str) -> int:
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _attempt(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except OSError as error:
            self.failure = self.failure or error
            with suppress(OSError, ValueError):  # redirect the descriptor, so that Python's flush at exit cannot fail
                devnull = os.open(os.devnull, os.O_WRONLY)
                os.dup2(devnull, self.stream.fileno())
                os.close(devnull)


@contextmanager
def safe_consoles() -> Iterator[Console]:
    """Replace stdout (yielded) and stderr by Consoles while a command runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = consoles = tuple(Console(stream) for stream in before)
    try:
        yield consoles[0]
    finally:
        for console in consoles:
            console.flush()
            if console.closed_from_the_start:
                console.stream.close()
        sys.stdout, sys.stderr = before
