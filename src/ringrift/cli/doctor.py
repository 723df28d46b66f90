"""What `ringrift doctor` looks at. Each check yields what it found, with advice where there is some."""

import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import ringrift
from ringrift.errors import RingRiftError
from ringrift.observe.machine import cpu_flags, memory_bytes, saturates_int8, usable_cores

GIB = 2**30
#: What each package is for, to say what its absence costs.
PACKAGES = {
    "numpy": "everything",
    "torch": "training: pip install 'ringrift[train]'",
    "safetensors": "checkpoints: pip install 'ringrift[train]'",
    "onnx": "export of networks: pip install 'ringrift[train]'",
    "onnxruntime": "playing with networks: pip install onnxruntime",
    "pettingzoo": "the PettingZoo environment: pip install 'ringrift[research]'",
}
#: Ports that the services of this project listen on by default.
PORTS = {8001: "game service", 4222: "NATS"}


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    value: str
    advice: str = ""
    ok: bool = True  #: False: something would not work


def examine() -> Iterator[Check]:
    """All checks, in the order they are printed."""
    for check in CHECKS:
        yield from check()


def check_versions() -> Iterator[Check]:
    yield Check("ringrift", f"{ringrift.__version__}, {platform.python_implementation()} {platform.python_version()}")
    for name, use in PACKAGES.items():
        try:
            yield Check(name, version(name))
        except PackageNotFoundError:
            yield Check(name, "not installed", f"needed for {use}")


def check_core() -> Iterator[Check]:
    from ringrift import _core

    flags = _core.build_flags()
    yield Check("core", f"{_core.build_compiler()}: {flags}", "" if "-O3" in flags else "not optimised: `make build`")
    wanted = flags.partition("-march=")[2].partition(" ")[0]
    offered = cpu_flags()
    if wanted == "native" or not offered:
        return
    if wanted == "x86-64-v3" and (missing := {"avx2", "bmi1", "bmi2", "fma", "movbe"} - offered):
        lacks = ", ".join(sorted(missing))
        yield Check("processor", f"lacks {lacks}", "build with -DRR_ARCH=x86-64 for this processor", ok=False)
    elif not wanted and "avx2" in offered:
        yield Check("processor", "offers AVX2 that the core does not use", "build with -DRR_ARCH=x86-64-v3")


def check_machine() -> Iterator[Check]:
    cores = usable_cores()
    advice = "one process per core: more than one self-play process will only take turns" if cores == 1 else ""
    yield Check("cores", f"{cores} usable of {os.cpu_count()}", advice)
    if memory := memory_bytes():
        total, available = memory
        low = "under 2 GiB is free: training may be killed; lower the batch or close something"
        yield Check(
            "memory", f"{available / GIB:.1f} of {total / GIB:.1f} GiB available", low if available < 2 * GIB else ""
        )


def check_disk() -> Iterator[Check]:
    from ringrift.settings import load

    try:
        data = load().places.data
    except RingRiftError as error:
        yield Check("settings", str(error), "see `ringrift config reference`", ok=False)
        data = Path("runs")
    place = data.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    yield Check(
        "disk", f"{free / GIB:.1f} GiB free for {data}", "" if free > 5 * GIB else "a run needs about 5 GiB: free some"
    )
    if not os.access(place, os.W_OK):
        yield Check("data", f"{place} is not writable", "choose another with --set places.data=DIR", ok=False)


def check_rules() -> Iterator[Check]:
    """Random play through the core, a quarter of a second."""
    from ringrift.rules import GameBatch

    batch, plies, seeds = GameBatch("square8_2p", 64), 0, np.arange(64, dtype=np.uint64)
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < 0.25:
        for i in range(64):
            batch.reset(i)
        batch.random_playout(seeds)
        plies += int(np.sum(batch.plies))
        seeds += np.uint64(64)
    rate = plies / spent
    yield Check(
        "rules", f"{rate / 1e6:.2f} M plies/s on square8_2p", "" if rate > 1e6 else "slow: is the machine busy?"
    )


def check_evaluator() -> Iterator[Check]:
    """An untrained network through the exporter and the fast runtime, about five seconds."""
    if missing := [name for name in ("torch", "onnx", "onnxruntime") if find_spec(name) is None]:
        yield Check("evaluator", f"not measured without {', '.join(missing)}")
        return
    from ringrift.bench.nets import rows

    for row in rows("square8_2p", ["tiny"], batch=32, seconds=0.5):
        speeds = {name: int(str(row.get(f"evals_per_s_{name}", 0))) for name in ("int8", "float32")}
        text = ", ".join(f"{speed} in {name}" for name, speed in speeds.items() if speed)
        slow = "no gain from int8 on this processor: set loop.precision=float32"
        advice = "" if speeds["int8"] > speeds["float32"] else slow
        yield Check("evaluator", f"square8_2p, tiny: positions/s on one core: {text}", advice)
    bits = "7 bits: no VNNI" if saturates_int8() else "8 bits"
    yield Check("int8", f"weights of networks exported here have {bits}")


def check_ports() -> Iterator[Check]:
    for port, use in PORTS.items():
        with socket.socket() as probe:
            free = probe.connect_ex(("127.0.0.1", port)) != 0
        if free:
            yield Check(f"port {port}", f"free ({use})")
        else:
            yield Check(f"port {port}", "in use", f"something listens there; give the {use} another port")


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    check_versions,
    check_core,
    check_machine,
    check_disk,
    check_rules,
    check_evaluator,
    check_ports,
)
