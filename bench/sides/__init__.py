"""The sides of the comparison: maml_core's engines and other libraries, behind a common interface."""

import importlib
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from maml_core.episodes import Episodes
from maml_core.networks import Weights

from ..workloads import Workload


class Side(Protocol):
    """One way to run a workload.

    name:            its first word is its family, which is represented by its fastest side in comparisons
    detail:          how many tasks it processes at a time
    steps_per_call:  meta-steps per call of what `start` returns
    compiles:        whether its gradient in another dtype needs another compilation, of minutes
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
        """Start training from the workload's theta; each call runs meta-steps and returns when they are done."""
        ...


def _engine(name: str, precision: str = "float32") -> Callable[[Workload], list[Side]]:
    return lambda workload: [_module("ours").Ours(workload, name, precision)]


def _module(name: str):
    return importlib.import_module(f".{name}", __name__)


# Modules are imported on demand: a library that is not installed is no error.
SIDES: dict[str, Callable[[Workload], list[Side]]] = {
    "compiled": _engine("compiled"),
    "bf16": _engine("compiled", "bf16"),
    "graph": _engine("graph"),
    "eager": _engine("eager"),
    "module": lambda workload: _module("any_module").variants(workload),
    "plain": lambda workload: [_module("plain").PlainLoop(workload)],
    "torchopt": lambda workload: _module("with_torchopt").variants(workload),
    "higher": lambda workload: [_module("with_higher").Higher(workload)],
    "learn2learn": lambda workload: [_module("with_learn2learn").Learn2Learn(workload)],
    "jax": lambda workload: _module("with_jax").variants(workload),
}


def default_sides(device: str) -> list[str]:
    """All sides; CUDA graphs only on CUDA. (bf16 is skipped later if the processor does not support it.)"""
    return [name for name in SIDES if name != "graph" or device == "cuda"]


def build_sides(names: list[str], workload: Workload, log: Callable[[str], None] = print) -> list[Side]:
    """Build the sides of those names; those that are not available here are logged in one line and skipped."""
    sides = []
    for name in names:
        try:
            sides += SIDES[name](workload)
        except ImportError as error:
            log(f"{name} is skipped: {error}. `make bench` installs it, given a network connection.")
        except (RuntimeError, ValueError) as error:  # JAX without GPU support, bf16 on a processor without it
            log(f"{name} is skipped: {str(error).splitlines()[0]}")
    return sides
