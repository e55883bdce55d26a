"""What the command line takes: python -m maml_core COMMAND ..."""

import argparse
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import get_args

from ..engine.precision import PRECISIONS
from ..learners.adapting import CHOICES as ADAPTING
from ..learners.registry import LEARNERS
from ..recipes import SCHEDULES, Recipe
from ..studies.registry import STUDIES
from ..tasks.characters import SPLITS
from ..training.autotune import ENGINES

DESCRIPTION = """Meta-train and evaluate the settings of the MAML paper.

  python -m maml_core recipes                          what there is to train
  python -m maml_core train sinusoid-5shot             the paper's regression, minutes on a CPU
  python -m maml_core train omniglot-5way-1shot --iterations 200
  torchrun --nproc-per-node 2 -m maml_core train omniglot-20way-1shot    two processes share each meta-batch
  python -m maml_core evaluate omniglot-5way-1shot     the weights that come with the package
  python -m maml_core reproduce                        the paper's tables with our column beside it
"""


# The changes to a recipe: an option for each of these fields, whose type and name it takes from there.
CHANGES = {
    "ways": "N, classes in a task",
    "shots": "K, support points per class",
    "queries": "query points per class (default K)",
    "split": "of the characters: as the paper's code, or by alphabet",
    "rotations": "characters turned or upright, in training and at test",
    "alpha": "size of an inner step",
    "inner_steps": "inner steps in meta-training",
    "variant": "of MAML, or another family (default maml)",
    "adapts": "what adapts in the inner loop",
    "inner_loss": "sum over the support points divided by K, or their mean",
}
TRAINING_CHANGES = CHANGES | {
    "first_order": "drop the second derivatives",
    "meta_batch": "tasks in a meta-iteration",
    "meta_learning_rate": "Adam's learning rate for theta",
    "schedule": "of that learning rate: cosine lets it fall to 0 over the recipe's meta-iterations",
    "clip": "largest absolute value in a meta-gradient (default: any)",
    "averaging": "how much of theta's running average a meta-iteration keeps, such as 0.998 (default: no average)",
    "turned_classes": "a character in each of its four orientations as a class of its own, in training",
    "jitter": "turn, move and scale every picture a little, in training",
}
CHOICES: dict[str, Collection[str]] = {
    "split": SPLITS, "variant": LEARNERS, "adapts": ADAPTING, "inner_loss": ("sum", "mean"), "schedule": SCHEDULES,
}  # fmt: skip


def _add_changes(parser: argparse.ArgumentParser, helps: dict[str, str]) -> None:
    """An option for each of these fields of Recipe, None where it is not given: --alpha 0.1, or --jitter or --no-jitter."""
    group = parser.add_argument_group("changes to the recipe")
    for field in (field for field in fields(Recipe) if field.name in helps):
        flag, told = f"--{field.name.replace('_', '-')}", helps[field.name]
        kind = next(one for one in get_args(field.type) or (field.type,) if one is not NoneType)
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=told)
        else:
            group.add_argument(flag, type=kind, choices=tuple(CHOICES.get(field.name, ())) or None, help=told)


def build_parser() -> argparse.ArgumentParser:
    """Of all commands; the one that was given is `command` in what it parses."""
    parser = argparse.ArgumentParser(
        prog="python -m maml_core", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("recipe", metavar="RECIPE", help="a setting of the paper by name; `recipes` lists them")
    common.add_argument("--seed", type=int, help="of all randomness (default 0, or the checkpoint's)")
    common.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    common.add_argument("--data", choices=("auto", "omniglot", "glyphs"),
                        help="auto: Omniglot from disk, else downloaded, else made-up glyphs (default)")  # fmt: skip
    common.add_argument("--no-download", action="store_true", help="never fetch Omniglot from the network")

    go = commands.add_parser("train", parents=[common], help="meta-train a recipe",
                             description="Meta-train a recipe; weights and history go to --out.")  # fmt: skip
    go.add_argument("--iterations", type=int, help="meta-iterations (default: the paper's)")
    go.add_argument("--out", type=Path, help="folder of the training (default runs/RECIPE, or the next one free)")
    go.add_argument("--resume", action="store_true",
                    help="go on with the training in --out (default runs/RECIPE), by its own settings; where there is "
                         "none yet, with the unfinished one that the package ships")  # fmt: skip
    go.add_argument("--engine", choices=ENGINES, default="auto",
                    help="auto: graph on a GPU; on a CPU compiled where that is won back")  # fmt: skip
    go.add_argument("--precision", choices=PRECISIONS,
                    help="of matrix products (default float32, or the checkpoint's; "
                         "bf16 where the processor has it)")  # fmt: skip
    go.add_argument("--chunk-tasks", type=int, metavar="N",
                    help="tasks at a time; less memory, the same gradient (default: as fits)")  # fmt: skip
    go.add_argument("--validate-every", type=int, default=1000, metavar="N", help="meta-iterations (default 1000)")
    _add_changes(go, TRAINING_CHANGES)

    judge = commands.add_parser("evaluate", parents=[common], help="adapt to new test tasks and measure",
                                description="Evaluate the shipped weights, or --weights, on test tasks.")  # fmt: skip
    judge.add_argument("--weights", type=Path, help="a weights.pt or checkpoint.pt that `train` wrote")
    judge.add_argument("--tasks", type=int, default=600, help="test tasks (default 600, as the paper)")
    judge.add_argument("--part", choices=("test", "validation", "train"), default="test", help="of the characters")
    judge.add_argument("--json", action="store_true", help="print one JSON object")
    _add_changes(judge, CHANGES)

    table = commands.add_parser("reproduce", help="the paper's tables with our results beside it",
                                description="Print the paper's Tables 1 and 2 with our results beside it.")  # fmt: skip
    table.add_argument("--evaluate", action="store_true",
                       help="measure the shipped weights again, on 600 new tasks each")  # fmt: skip
    table.add_argument("--seed", type=int, default=1, help="of the tasks for --evaluate (default 1; the shipped: 0)")

    study = commands.add_parser("study", help="one question: trainings that differ in one factor, or a measurement",
                                description="Run a study anew and write its results as JSON. "
                                            + ", ".join(STUDIES))  # fmt: skip
    study.add_argument("study", metavar="STUDY", choices=STUDIES, help=" | ".join(STUDIES))
    study.add_argument("--iterations", type=int, help="meta-iterations of each training (default: the shipped study's)")
    study.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one training each (default 0 1)")
    study.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    study.add_argument("--engine", choices=ENGINES, default="auto", help="of its trainings (default: as `train` chooses)")
    study.add_argument("--out", type=Path, default=Path("runs/studies"),
                       help="folder of the trainings, which are gone on with (default runs/studies)")  # fmt: skip
    place = study.add_mutually_exclusive_group()
    place.add_argument("--results", type=Path, metavar="FILE", help="default: STUDY.json in --out")
    place.add_argument("--ship", action="store_true",
                       help="write into the package: the results that chapters and figures are made from")  # fmt: skip

    give = commands.add_parser("publish", help="ship a training's best weights with the package")
    give.add_argument("folder", type=Path, metavar="FOLDER", help="that `train` wrote")
    give.add_argument("--as", dest="name", metavar="NAME", help="what to ship it as (default: its recipe's name)")

    commands.add_parser("recipes", help="list the recipes")
    return parser
