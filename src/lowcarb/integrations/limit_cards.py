"""The GPUs whose limits may be asked for: those that CUDA leaves to this process, by NVML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.gpu import Gpu, visible


@contextmanager
def begun() -> Iterator[Any]:
    """NVML, begun and let go.

    Raises:
        SensorUnavailable: no binding, or no driver, with what to do.
    """
    try:
        nvml: Any = import_module("pynvml")
    except ImportError as error:
        raise SensorUnavailable("nvml", f"no NVML binding ({error})", "pip install nvidia-ml-py") from error
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        remedy = "Only NVIDIA GPUs can be limited; with one, check `nvidia-smi`, and in a container pass `--gpus all`"
        raise SensorUnavailable("nvml", f"NVML does not start ({error})", remedy) from error
    try:
        yield nvml
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def shown(nvml: Any, environ: Mapping[str, str]) -> list[tuple[Gpu, Any]]:
    """The GPUs that CUDA leaves to this process, with their handles.

    Raises:
        SensorUnavailable: there is none, or it is a slice.
    """
    found = cards(nvml)
    if not found:
        raise SensorUnavailable("nvml", "the driver lists no GPU that answers", "In a container pass `--gpus all`")
    shown, slices = visible(environ, [gpu for gpu, _ in found])
    if slices:
        remedy = "Ask for whole GPUs: a limit would hold for every slice"
        raise SensorUnavailable("nvml", f"{slices[0]} is a slice of a GPU (MIG)", remedy)
    return [found[index] for index in shown]


def cards(nvml: Any) -> list[tuple[Gpu, Any]]:
    """All GPUs that answer, with their handles."""
    found = []
    count = 0
    with suppress(nvml.NVMLError):
        count = nvml.nvmlDeviceGetCount()
    for index in range(count):
        with suppress(nvml.NVMLError):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle))
            found.append((Gpu(uuid, name, None, None), handle))
    return found
