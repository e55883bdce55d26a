"""How much does the way of shrinking Omniglot's pictures matter, which the paper calls "downsampled"?

The authors' script asks Pillow for a Lanczos filter. But the files are 1-bit, and for those Pillow takes nearest neighbour
without a word: their pictures are black and white, with strokes that break. Ours are grey.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ..results.protocol import measure
from ..tasks.characters import Characters
from ..tasks.omniglot import read_omniglot
from ..training import checkpoints
from .measurements import omniglot_only
from .study import Findings, StudyContext
from .trainings import Condition, Trainings

OURS, AUTHORS = "Lanczos", "nearest neighbour"
SHORT = {"adapts": "last block", "meta_iterations": 1_000, "jitter": False}  # what-adapts trains this, too
CONDITION = Condition("omniglot-20way-1shot-fast", SHORT)
TRAININGS = Trainings({OURS: CONDITION}, iterations=1_000, validate_every=250, protocols={})


def shrinking(context: StudyContext, trainings: Trainings = TRAININGS) -> Findings:
    """Train on pictures of either kind, and test on both: "judged" is by the kind of the test's pictures.

    Raises ValueError without Omniglot, or where its pictures on disk are 28x28 already.
    """
    ours = omniglot_only(context)
    pictures = {OURS: ours, AUTHORS: Characters(read_omniglot(resampling="nearest"), ours.source)}
    if torch.equal(*(characters.images for characters in pictures.values())):
        raise ValueError(
            "This study shrinks Omniglot's pictures of 105 x 105 pixels itself, and those on disk are 28 x 28 already: "
            "docs/training.md says where to put others."
        )
    rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    for kind in pictures:
        out = context.out if kind == OURS else context.out / "nearest"
        found = trainings(replace(context, characters=partial(pictures.__getitem__, kind), out=out))
        settings = found.settings
        for row in found.rows:
            theta = checkpoints.load(out / CONDITION.folder(row["seed"]) / "weights.pt")["theta"]
            judged = {
                of: measure(CONDITION.build(), theta, shown, 0, trainings.test_tasks, by_step=False)
                for of, shown in pictures.items()
            }
            rows.append(row | {"condition": kind, "judged": judged})
    return Findings(rows, settings)
