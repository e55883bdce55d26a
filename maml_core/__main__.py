"""The command line: python -m maml_core train | evaluate | reproduce | study | publish | recipes."""

import argparse
import signal
import sys
from collections.abc import Callable

from .cli.arguments import build_parser
from .cli.commands import _evaluate, _publish, _recipes, _reproduce, _study
from .cli.consoles import safe_consoles
from .cli.training import _train

TOO_LARGE = "There is not enough memory: lower --shots, --queries or --meta-batch, or take --chunk-tasks 1."


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 2 with one sentence on stderr for anything that a user can put right.

    A reader of stdout that leaves early (`| head -1`) has what it wanted: that is 0 as well, and a training goes on.
    """
    with safe_consoles() as out:
        status = _run(arguments)
        out.flush()
        if status == 0 and out.failure and not isinstance(out.failure, BrokenPipeError):
            print(f"maml_core: not all of the output could be written ({out.failure}).", file=sys.stderr)
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
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        print(f"maml_core: {TOO_LARGE}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signal", signal.SIGINT)


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
