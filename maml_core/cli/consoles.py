"""Stdout and stderr of a command: readable in every encoding, and never a reason for it to fail."""

import codecs
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

# What stands for a character that the console's encoding lacks, where Unicode's own decomposition is no help.
PLAIN = {"→": "->", "±": "+/-", "×": "x", "·": "*", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"'}
ERRORS = "maml_core.readable"


def readable(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler for codecs: the first character that cannot be encoded as ASCII, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is no UTF-8: as it came
        return bytes([ord(character) - 0xDC00]), error.start + 1
    plain = PLAIN.get(character) or unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?", error.start + 1


codecs.register_error(ERRORS, readable)


class Console:
    """A stream whose writes never raise: after the first failure (`failure`) what is written goes nowhere.

    So a reader that leaves (`| head -1`), a closed stderr or a full disk behind `> log` costs the messages at most, never
    the training behind them.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.closed_from_the_start = stream is None
        # The lowest free descriptor is the closed one, so that no checkpoint gets it and C code's messages with it.
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
            with suppress(OSError, ValueError):  # no descriptor, no second message when Python flushes at its end
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)


@contextmanager
def safe_consoles() -> Iterator[Console]:
    """Stdout (which is yielded) and stderr as a Console while a command runs."""
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
