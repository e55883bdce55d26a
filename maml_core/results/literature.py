"""Reported results and their sources: accuracies are fractions, with the half-width of the 95% interval if given.

Settings are the columns of the paper's Table 1. None marks a value that the source does not report.
"""

from dataclasses import dataclass

SETTINGS = ("5way-1shot", "5way-5shot", "20way-1shot", "20way-5shot")

MAML = "Finn, Abbeel, Levine 2017, Table 1"
CONTEXT = "Finn, Abbeel, Levine 2017, Table 3"
REPTILE = "Nichol, Achiam, Schulman 2018 (arXiv 1803.02999)"
IMAML = "Rajeswaran, Finn, Kakade, Levine 2019 (arXiv 1909.04630)"
PROTOTYPES = "Snell, Swersky, Zemel 2017 (arXiv 1703.05175)"
SNAIL = "Mishra, Rohaninejad, Chen, Abbeel 2018 (arXiv 1707.03141)"
MAMLPP = "Antoniou, Edwards, Storkey 2019 (arXiv 1810.09502)"
META_SGD = "Li, Zhou, Chen, Li 2017 (arXiv 1707.09835)"
ANIL = "Raghu, Raghu, Bengio, Vinyals 2020 (arXiv 1909.09157)"
GITHUB = "https://github.com/"

Cell = tuple[float, float | None] | None


@dataclass(frozen=True)
class Report:
    """One row of a paper's table: a method's accuracy on Omniglot in the four SETTINGS."""

    method: str
    source: str
    cells: tuple[Cell, ...]

    def cell(self, setting: str) -> Cell:
        return self.cells[SETTINGS.index(setting)]


def _row(method: str, source: str, *percent: tuple[float, float] | float | None) -> Report:
    """A row as printed in its source, in percent: 98.7, or (98.7, 0.4) with its interval."""

    def cell(value: tuple[float, float] | float | None) -> Cell:
        if value is None:
            return None
        mean, half = value if isinstance(value, tuple) else (value, None)
        return round(mean / 100, 6), None if half is None else round(half / 100, 6)

    return Report(method, source, tuple(cell(value) for value in percent))


OMNIGLOT = (
    _row("MANN, no conv", MAML, 82.8, 94.9, None, None),
    _row("MAML, no conv", MAML, (89.7, 1.1), (97.5, 0.6), None, None),
    _row("siamese nets", MAML, 97.3, 98.4, 88.2, 97.0),
    _row("matching nets", MAML, 98.1, 98.9, 93.8, 98.5),
    _row("neural statistician", MAML, 98.1, 99.5, 93.2, 98.1),
    _row("memory modules", MAML, 98.4, 99.6, 95.0, 98.6),
    _row("MAML", MAML, (98.7, 0.4), (99.9, 0.1), (95.8, 0.3), (98.9, 0.2)),
    _row("context vector", CONTEXT, (94.9, 0.9), (97.7, 0.3), None, None),
    _row("first-order MAML", REPTILE, (98.3, 0.5), (99.2, 0.2), (89.4, 0.5), (97.9, 0.1)),
    _row("Reptile, transductive", REPTILE, (97.68, 0.04), (99.48, 0.06), (89.43, 0.14), (97.12, 0.32)),
    _row("iMAML, gradient descent", IMAML, (99.16, 0.35), (99.67, 0.12), (94.46, 0.42), (98.69, 0.1)),
    _row("iMAML, Hessian-free", IMAML, (99.50, 0.26), (99.74, 0.11), (96.18, 0.36), (99.14, 0.1)),
    _row("Meta-SGD", META_SGD, (99.53, 0.26), (99.93, 0.09), (95.93, 0.38), (98.97, 0.19)),
    _row("MAML++", MAMLPP, 99.47, 99.85, 97.65, 99.33),
    _row("ANIL", ANIL, None, None, (96.2, 0.5), (98.0, 0.3)),
)

# What others report of their own runs of a method, the best first at 20 ways. Some name the best of many tests.
REPRODUCTIONS = (
    _row("MAML", ANIL, None, None, (93.7, 0.7), (96.4, 0.1)),
    _row("MAML", GITHUB + "jik0730/MAML-in-pytorch", 99.4, 99.9, 92.8, None),
    _row("MAML", GITHUB + "katerakelly/pytorch-maml", 98.9, None, 92.0, None),
    _row("MAML", GITHUB + "oscarknagg/few-shot", 98.1, 99.8, 91.6, 95.9),
    _row("MAML", GITHUB + "potsawee/maml", (94.7, 0.5), (98.8, 0.1), (83.4, 0.4), (94.1, 0.2)),
    _row("first-order MAML", GITHUB + "haebeom-lee/maml", 98.0, None, 94.5, None),
    _row("first-order MAML", GITHUB + "oscarknagg/few-shot", 95.5, 99.5, 92.2, 97.7),
    _row("Meta-SGD", GITHUB + "jik0730/Meta-SGD-pytorch", 99.3, 99.8, 95.4, 97.8),
)

# The other two families, from full training runs; prototypes were trained on 60 ways.
FAMILIES = (
    _row("prototypical networks", PROTOTYPES, 98.8, 99.7, 96.0, 98.9),
    _row("SNAIL", SNAIL, (99.07, 0.16), (99.78, 0.09), (97.64, 0.30), (99.36, 0.18)),
)

# The paper's Table 2: mean squared error by number of inner steps, 5-shot.
SINUSOID = {
    "MAML": {1: 0.67, 5: 0.38, 10: 0.35},
    "pretrained on all tasks": {1: 2.41, 5: 2.23, 10: 2.19},
    "multi-task, no regularization": {1: 4.19, 5: 3.85, 10: 3.69},
    "multi-task, L2": {1: 7.18, 5: 5.69, 10: 5.60},
    "multi-task, regularized to the mean theta": {1: 2.91, 5: 2.72, 10: 2.71},
}


# The paper's Table 4: average return on 2-D navigation after 0 to 3 policy gradient steps.
NAVIGATION = {"context vector": (-42.42, -13.90, -5.17, -3.18), "MAML": (-40.41, -11.68, -3.33, -3.23)}


def reported(method: str, setting: str) -> Cell:
    """The reported accuracy of a method in OMNIGLOT or FAMILIES, in one of SETTINGS."""
    (row,) = (row for row in OMNIGLOT + FAMILIES if row.method == method)
    return row.cell(setting)


def reproduced(method: str, setting: str) -> list[tuple[float, float | None]]:
    """What others report of their own runs of a method, in one of SETTINGS."""
    return [cell for row in REPRODUCTIONS if row.method == method and (cell := row.cell(setting))]


# What our recipes are compared with.
PAPER_ACCURACY = {
    **{f"omniglot-{setting}": reported("MAML", setting) for setting in SETTINGS},
    **{f"omniglot-{setting}-mlp": reported("MAML, no conv", setting) for setting in SETTINGS[:2]},
    **{f"omniglot-{setting}-first-order": reported("first-order MAML", setting) for setting in SETTINGS},
    **{f"omniglot-{setting}-fast": reported("MAML", setting) for setting in SETTINGS},
    "omniglot-5way-1shot-best": reported("MAML", "5way-1shot"),
    "omniglot-20way-1shot-best": reported("MAML", "20way-1shot"),
    "omniglot-5way-1shot-sum": reported("MAML", "5way-1shot"),
    "omniglot-20way-1shot-mean": reported("MAML", "20way-1shot"),
    "mini-imagenet-5way-1shot": (0.4870, 0.0184),
    "mini-imagenet-5way-5shot": (0.6311, 0.0092),
}
PAPER_MSE = {"sinusoid-5shot": SINUSOID["MAML"], "sinusoid-pretrained": SINUSOID["pretrained on all tasks"]}
