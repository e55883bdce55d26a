"""The sides of the comparison: maml_core's engines and its peers, each behind the same three things."""

import importlib
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from maml_core.episodes import Episodes
from maml_core.networks import Weights

from ..workloads import Workload


class Side(Protocol):
    """One way to run a workload.

    name:            its first word is its family: a family's fastest side is what others are compared with
    detail:          how it goes through the tasks
    steps_per_call:  meta-steps in one call of what `start` returns
    compiles:        whether its gradient in another dtype takes a compilation of minutes
    precision:       of its matrix products: "float32", or "bf16" (factors rounded to bfloat16)
    """

    name: str
    detail: str
    steps_per_call: int
    compiles: bool
    precision: str

    def gradient(self, theta: Weights, episodes: Episodes) -> dict[str, Tensor]:
        """The meta-gradient of (1/T) sum_i L_i(phi_i), in maml_core's layout."""
        ...

    def start(self) -> Callable[[], None]:
        """A training from the workload's theta: each call returns when its meta-steps are done."""
        ...


def _engine(name: str, precision: str = "float32") -> Callable[[Workload], list[Side]]:
    return lambda workload: [_module("ours").Ours(workload, name, precision)]


def _module(name: str):
    return importlib.import_module(f".{name}", __name__)


# Modules are imported when they are asked for: a peer that is not installed is no error.
SIDES: dict[str, Callable[[Workload], list[Side]]] = {
    "compiled": _engine("compiled"),
    "bf16": _engine("compiled", "bf16"),
    "graph": _engine("graph"),
    "eager": _engine("eager"),
    "plain": lambda workload: [_module("plain").PlainLoop(workload)],
    "torchopt": lambda workload: _module("with_torchopt").variants(workload),
    "higher": lambda workload: [_module("with_higher").Higher(workload)],
    "learn2learn": lambda workload: [_module("with_learn2learn").Learn2Learn(workload)],
    "jax": lambda workload: _module("with_jax").variants(workload),
}


def default_sides(device: str) -> list[str]:
    """All of them; CUDA graphs only where there is CUDA. (bf16 leaves itself out where the processor has none.)"""
    return [name for name in SIDES if name != "graph" or device == "cuda"]


def build_sides(names: list[str], workload: Workload, say: Callable[[str], None] = print) -> list[Side]:
    """The sides of those names; what cannot be had here is told in one line and left out."""
    sides = []
    for name in names:
        try:
            sides += SIDES[name](workload)
        except ImportError as error:
            say(f"{name} is left out: {error}. `make bench` installs it where there is a network.")
        except (RuntimeError, ValueError) as error:  # JAX without a GPU of its own, bf16 on a processor without it
            say(f"{name} is left out: {str(error).splitlines()[0]}")
    return sides
