"""The machine: its description, its peak speed in matrix products, its background load, and memory use."""

import ctypes
import datetime
import gc
import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from maml_core.engine.matmul import choose_backend, use_backend
from maml_core.engine.precision import supported_precision
from maml_core.maml import meta_gradient
from maml_core.training.autotune import choose_chunk

from .workloads import Workload

PEERS = ("torchopt", "higher", "jax", "jaxlib", "learn2learn")

# glibc returns large blocks to the system and then faults them in again page by page, which on some machines makes an eager
# meta-step several times as long, and its times erratic. All sides run with this turned off.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


def with_allocator(module: str) -> None:
    """Restart `python -m module` with ALLOCATOR in its environment, unless it is already there (Linux only)."""
    if sys.platform == "linux" and not ALLOCATOR.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], os.environ | ALLOCATOR)


def describe_machine(device: str) -> dict[str, Any]:
    """The hardware and software that the numbers were measured on."""
    metadata = {
        "cpu": cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # AVX2, AVX512 and so on: the most that torch uses
        "products": choose_backend(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "date": datetime.date.today().isoformat(),
    }
    if device == "cuda":
        metadata["gpu"] = torch.cuda.get_device_name()
    for peer in PEERS:
        try:
            metadata[peer] = importlib.metadata.version(peer)
        except importlib.metadata.PackageNotFoundError:
            continue
    return metadata


def cpu_name() -> str:
    """The processor's name according to Linux, or else to Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def peaks(device: str, size: int | None = None, repeats: int = 12) -> dict[str, float]:
    """Peak GFLOP per second of each backend: the best of several n x n matrix products, with all threads.

    "float32" is the best of those that compute in float32: MKL, and oneDNN where it does not round to bfloat16. "bf16" is
    left out on a processor that only emulates it, where one product takes a minute.
    """
    backends = ["mkl", "onednn"] if device == "cpu" else ["mkl"]
    if supported_precision("bf16", device) == "bf16":
        backends.append("bf16")
    peak = {backend: _peak(device, backend, size, repeats) for backend in backends}
    exact = [backend for backend in ("mkl", "onednn") if choose_backend(device, backend) == backend]
    return {"float32": max(peak[backend] for backend in exact)} | peak


def _peak(device: str, backend: str, size: int | None, repeats: int) -> float:
    n = size or (8192 if device == "cuda" else 2048)
    dtype = torch.bfloat16 if backend == "bf16" else torch.float32
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    with use_backend("mkl" if backend == "bf16" else backend):
        for _ in range(repeats):
            started = time.perf_counter()
            a @ b
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
    return 2 * n**3 / best / 1e9


class BackgroundLoad:
    """How many cores other processes keep busy: `with BackgroundLoad() as load: ...`, then `load.cores` (Linux only)."""

    cores: float | None = None

    def __enter__(self) -> "BackgroundLoad":
        self._started, self._before = time.perf_counter(), self._seconds()
        return self

    def __exit__(self, *_: object) -> None:
        after = self._seconds()
        if self._before is not None and after is not None:
            self.cores = max(0.0, (after - self._before) / (time.perf_counter() - self._started))

    @staticmethod
    def _seconds() -> float | None:
        """CPU seconds used so far by all processes except this one."""
        try:
            fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        except OSError:
            return None
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
        own = os.times()
        all_processes = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return all_processes - own.user - own.system


def count_flop(workload: Workload) -> int:
    """FLOP in the matrix products of one meta-gradient (2 per multiply-add), counted in our eager engine."""
    with FlopCounterMode(display=False) as counter:
        chunk = choose_chunk(workload.recipe, workload.device.type)
        meta_gradient(workload.learner, workload.theta, workload.episodes, chunk)
    return counter.get_total_flops()


def peak_memory(device: str) -> int:
    """Peak memory in bytes; on Linux and on a GPU, since the last `reset_peak_memory`."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else 1024 * used
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def reset_peak_memory(device: str) -> int:
    """Reset the peak; returns the bytes in use now.

    `ru_maxrss` is not enough on Linux, where a child process inherits its parent's peak. Free memory must also be returned
    to the system: otherwise it counts as in use before the measurement, and its reuse goes unnoticed.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return peak_memory(device)
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError):
        pass  # not Linux with glibc: the peak includes that of the imports, and small measurements show as 0
    return peak_memory(device)
