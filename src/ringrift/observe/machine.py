"""What this machine is, as far as the speed of networks depends on it."""

import os
import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def _cpuinfo() -> dict[str, str]:
    """The fields of the first processor; empty where the system does not tell."""
    if not _CPUINFO.exists():
        return {}
    lines = (line.partition(":") for line in _CPUINFO.read_text().partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def cpu_flags() -> set[str]:
    """Instruction sets of this processor; empty where the system does not tell."""
    return set(_cpuinfo().get("flags", "").split())


def cpu_model() -> str:
    """The processor's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> tuple[int, int] | None:
    """Total and available memory in bytes, within the container's limit; None where the system does not tell."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    rows = dict(line.split(":", 1) for line in path.read_text().splitlines())
    total, available = (int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total, available = min(total, int(text)), min(available, int(text))
    return total, available


def saturates_int8() -> bool:
    """True for a processor whose products of 8-bit numbers overflow where two are added in 16 bits: x86 without VNNI.

    Weights of 7 bits cannot overflow.
    """
    flags = cpu_flags()
    return bool(flags) and platform.machine() in ("x86_64", "AMD64") and not flags & {"avx512_vnni", "avx_vnni"}
