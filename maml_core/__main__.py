"""The command line: python -m maml_core train | evaluate | reproduce | study | publish | recipes."""

import argparse
import signal
import sys
from collections.abc import Callable

import torch

from .cli.arguments import build_parser
from .cli.commands import _evaluate, _publish, _recipes, _reproduce, _study
from .cli.consoles import safe_consoles
from .cli.training import _train

OUT_OF_MEMORY = "There is not enough memory: lower --shots, --queries or --meta-batch, or add --chunk-tasks 1."

# What torch says of it, besides raising torch.OutOfMemoryError: its allocators on Linux, on Windows and macOS, and CUDA's
# libraries. Other errors speak of memory, too, such as one of writing to a tensor whose elements share it.
MEMORY_ERRORS = ("can't allocate memory", "not enough memory", "out of memory", "STATUS_ALLOC_FAILED")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 with one sentence on stderr for any error that a user can fix.

    A reader of stdout that exits early (`| head -1`) is no error: the exit code is 0, and a training run continues.
    """
    with safe_consoles() as out:
        status = _run(arguments)
        out.flush()
        if status == 0 and out.failure and not isinstance(out.failure, BrokenPipeError):
            print(f"maml_core: some of the output could not be written ({out.failure}).", file=sys.stderr)
            return 2
        return status


def _run(arguments: list[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options)
        return 0
    except (ValueError, OSError) as error:
        print(f"maml_core: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        print(f"maml_core: {OUT_OF_MEMORY}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signal", signal.SIGINT)


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or any(text in str(error) for text in MEMORY_ERRORS)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "reproduce": _reproduce,
    "study": _study,
    "publish": _publish,
    "recipes": _recipes,
}


if __name__ == "__main__":
    sys.exit(main())
