"""Command-line arguments: python -m maml_core COMMAND ..."""

import argparse
import textwrap
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from ..engine.precision import PRECISIONS
from ..learners.adapting import CHOICES as ADAPTING
from ..learners.registry import LEARNERS
from ..recipes import SCHEDULES, Recipe
from ..studies.registry import STUDIES
from ..tasks.characters import SPLITS
from ..training.autotune import ENGINES


class WholeNames(argparse.HelpFormatter):
    """Help whose lines never break inside a name such as omniglot-5way-1shot, so that names can be searched and copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.indent("\n".join(self._split_lines(text, width)), indent)


class CommandParser(argparse.ArgumentParser):
    """The parser of one command."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": WholeNames} | options)


DESCRIPTION = """Meta-train and evaluate the settings of the MAML paper.

  python -m maml_core recipes                          list the recipes
  python -m maml_core train sinusoid-5shot             the paper's regression, minutes on a CPU
  python -m maml_core train omniglot-5way-1shot --iterations 200
  torchrun --nproc-per-node 2 -m maml_core train omniglot-20way-1shot    two processes share each meta-batch
  python -m maml_core evaluate omniglot-5way-1shot     the weights that ship with the package
  python -m maml_core reproduce                        the paper's tables beside our results
"""


# Help texts of the options that change a recipe: one per field, with the field's name and type.
CHANGES = {
    "ways": "N, classes per task",
    "shots": "K, support points per class",
    "queries": "query points per class (default K)",
    "split": "how to split the characters: as in the paper's code, or by alphabet",
    "rotations": "whether characters are turned by multiples of 90 degrees, in training and at test",
    "alpha": "inner learning rate",
    "inner_steps": "inner steps in meta-training",
    "variant": "variant of MAML, or another family (default maml)",
    "adapts": "what adapts in the inner loop",
    "inner_loss": "sum over the support points divided by K, or their mean",
}
TRAINING_CHANGES = CHANGES | {
    "first_order": "drop the second derivatives",
    "meta_batch": "tasks per meta-iteration",
    "meta_learning_rate": "Adam's learning rate for theta",
    "schedule": "learning rate schedule: cosine decays to 0 over the recipe's meta-iterations",
    "clip": "clip meta-gradients to this absolute value (default: no clipping)",
    "averaging": "decay of a running average of theta, such as 0.998 (default: no averaging)",
    "turned_classes": "treat each of a character's four orientations as a class of its own, in training",
    "jitter": "turn, shift and scale every picture slightly, in training",
}
CHOICES: dict[str, Collection[str]] = {
    "split": SPLITS, "variant": LEARNERS, "adapts": ADAPTING, "inner_loss": ("sum", "mean"), "schedule": SCHEDULES,
}  # fmt: skip


def _add_changes(parser: argparse.ArgumentParser, helps: dict[str, str]) -> None:
    """Add an option per field of Recipe, None if not given: --alpha 0.1, or --jitter and --no-jitter."""
    group = parser.add_argument_group("changes to the recipe")
    for field in (field for field in fields(Recipe) if field.name in helps):
        flag, text = f"--{field.name.replace('_', '-')}", helps[field.name]
        kind = next(one for one in get_args(field.type) or (field.type,) if one is not NoneType)
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            group.add_argument(flag, type=kind, choices=tuple(CHOICES.get(field.name, ())) or None, help=text)


def build_parser() -> argparse.ArgumentParser:
    """The parser for all commands; the parsed `command` says which one was given."""
    parser = argparse.ArgumentParser(
        prog="python -m maml_core", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command", parser_class=CommandParser)

    common = CommandParser(add_help=False)
    common.add_argument("recipe", metavar="RECIPE", help="a recipe by name; `recipes` lists them")
    common.add_argument("--seed", type=int, help="random seed (default 0, or the checkpoint's)")
    common.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    common.add_argument("--data", choices=("auto", "omniglot", "glyphs"),
                        help="auto (default): Omniglot from disk, else downloaded, else made-up glyphs")  # fmt: skip
    common.add_argument("--no-download", action="store_true", help="never download Omniglot")

    train = commands.add_parser("train", parents=[common], help="meta-train a recipe",
                                description="Meta-train a recipe; weights and history go to --out.")  # fmt: skip
    train.add_argument("--iterations", type=int, help="meta-iterations (default: the recipe's)")
    train.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE, or runs/RECIPE-2 and so on)")
    train.add_argument("--resume", action="store_true",
                       help="continue the run in --out (default runs/RECIPE) with its own settings; if there is none, "
                            "the unfinished run whose checkpoint ships with the package")  # fmt: skip
    train.add_argument("--engine", choices=ENGINES, default="auto",
                       help="auto: graph on a GPU; on a CPU compiled if the run is long enough, else eager")  # fmt: skip
    train.add_argument("--precision", choices=PRECISIONS,
                       help="of matrix products (default float32, or the checkpoint's; "
                            "bf16 if the processor supports it)")  # fmt: skip
    train.add_argument("--chunk-tasks", type=int, metavar="N",
                       help="tasks to process at a time: less memory, same gradient (default: what fits)")  # fmt: skip
    train.add_argument("--validate-every", type=int, default=1000, metavar="N",
                       help="meta-iterations between validations (default 1000)")  # fmt: skip
    _add_changes(train, TRAINING_CHANGES)

    evaluate = commands.add_parser("evaluate", parents=[common], help="evaluate weights on test tasks",
                                   description="Evaluate the shipped weights, or --weights, on test tasks.")  # fmt: skip
    evaluate.add_argument("--weights", type=Path, help="a weights.pt or checkpoint.pt that `train` wrote")
    evaluate.add_argument("--tasks", type=int, default=600, help="number of test tasks (default 600, as in the paper)")
    evaluate.add_argument("--part", choices=("test", "validation", "train"), default="test",
                          help="which characters to evaluate on (default test)")  # fmt: skip
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    _add_changes(evaluate, CHANGES)

    reproduce = commands.add_parser("reproduce", help="print the paper's tables beside our results",
                                    description="Print the paper's Tables 1 and 2 beside our results.")  # fmt: skip
    reproduce.add_argument("--evaluate", action="store_true",
                           help="evaluate the shipped weights again, on 600 new tasks each")  # fmt: skip
    reproduce.add_argument("--seed", type=int, default=1,
                           help="seed of the tasks for --evaluate (default 1; the shipped results used 0)")  # fmt: skip

    study = commands.add_parser("study", help="run a study: training runs that differ in one factor, or a measurement",
                                description="Run a study again and write its results as JSON. "
                                            + ", ".join(STUDIES))  # fmt: skip
    study.add_argument("study", metavar="STUDY", choices=STUDIES, help=" | ".join(STUDIES))
    study.add_argument("--iterations", type=int, help="meta-iterations per training run (default: the shipped study's)")
    study.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one training run each (default 0 1)")
    study.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    study.add_argument("--engine", choices=ENGINES, default="auto", help="for training runs, as in `train`")
    study.add_argument("--out", type=Path, default=Path("runs/studies"),
                       help="folder for training runs; existing ones are resumed (default runs/studies)")  # fmt: skip
    place = study.add_mutually_exclusive_group()
    place.add_argument("--results", type=Path, metavar="FILE", help="file for the results (default: STUDY.json in --out)")
    place.add_argument("--ship", action="store_true",
                       help="write into the package, replacing the results that chapters and figures use")  # fmt: skip

    publish = commands.add_parser("publish", help="ship a run's best weights with the package")
    publish.add_argument("folder", type=Path, metavar="FOLDER", help="a folder that `train` wrote")
    publish.add_argument("--as", dest="name", metavar="NAME", help="name to ship it under (default: its recipe's name)")

    commands.add_parser("recipes", help="list the recipes")
    return parser
