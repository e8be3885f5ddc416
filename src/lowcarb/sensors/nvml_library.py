"""The few functions of NVML that the meter calls, by the names that nvidia-ml-py gives them.

On Linux a training loads this in place of nvidia-ml-py, which declares all of NVML and takes 2 MB and 5 ms for it.
Names, numbers and structures are those of the NVML API reference.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

Handle = ctypes.c_void_p

NVML_TOTAL_POWER_SAMPLES = 0
NVML_VALUE_TYPE_UNSIGNED_INT = 1
NOT_FOUND = 6
FUNCTION_NOT_FOUND = 13
TEXT_BYTES = 96
"""NVML_DEVICE_UUID_V2_BUFFER_SIZE and NVML_DEVICE_NAME_V2_BUFFER_SIZE."""
WORDS = {
    1: "Uninitialized", 2: "Invalid Argument", 3: "Not Supported", 4: "Insufficient Permissions", 6: "Not Found",
    9: "Driver Not Loaded", 10: "Timeout", 13: "Function Not Found", 15: "GPU is lost", 16: "GPU requires restart",
    18: "Driver/library version mismatch", 999: "Unknown Error",
}  # fmt: skip


class NVMLError(Exception):
    """An answer that is none, with its code."""

    def __init__(self, code: int) -> None:
        self.value = code
        super().__init__(WORDS.get(code, f"error {code}"))


class NVMLErrorNotFound(NVMLError):
    """There is none of what was asked for."""


class NVMLErrorFunctionNotFound(NVMLError):
    """The library is older than the function."""


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Value(ctypes.Union):
    _fields_ = (("uiVal", ctypes.c_uint), ("ullVal", ctypes.c_ulonglong))


class _Sample(ctypes.Structure):
    _fields_ = (("timeStamp", ctypes.c_ulonglong), ("sampleValue", _Value))


class NvmlLibrary:
    """NVML, as loaded from a file. Every function raises NVMLError where the library gives no answer.

    Raises:
        OSError: there is no such library.
    """

    NVMLError = NVMLError
    NVMLError_NotFound = NVMLErrorNotFound
    NVMLError_FunctionNotFound = NVMLErrorFunctionNotFound
    NVML_TOTAL_POWER_SAMPLES = NVML_TOTAL_POWER_SAMPLES
    NVML_VALUE_TYPE_UNSIGNED_INT = NVML_VALUE_TYPE_UNSIGNED_INT

    def __init__(self, name: str) -> None:
        self.nvmlLib = ctypes.CDLL(name)

    # ruff: noqa: N802  # NVML's own names

    def nvmlInit(self) -> None:
        """Begin to use NVML."""
        self._call("nvmlInit_v2")

    def nvmlShutdown(self) -> None:
        """Let it go."""
        self._call("nvmlShutdown")

    def nvmlDeviceGetCount(self) -> int:
        """How many GPUs there are."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        return count.value

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:
        """The GPU of an index."""
        handle = Handle()
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        return handle

    def nvmlDeviceGetUUID(self, handle: Handle) -> str:
        """Its UUID."""
        return self._text("nvmlDeviceGetUUID", handle)

    def nvmlDeviceGetName(self, handle: Handle) -> str:
        """Its name."""
        return self._text("nvmlDeviceGetName", handle)

    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> _Memory:
        """Its memory [B]."""
        memory = _Memory()
        self._call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        return memory

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int:
        """The limit that it keeps [mW]."""
        return self._number("nvmlDeviceGetEnforcedPowerLimit", handle)

    def nvmlDeviceGetPowerManagementLimit(self, handle: Handle) -> int:
        """The limit that was set [mW]."""
        return self._number("nvmlDeviceGetPowerManagementLimit", handle)

    def nvmlDeviceGetArchitecture(self, handle: Handle) -> int:
        """Number of its architecture."""
        return self._number("nvmlDeviceGetArchitecture", handle)

    def nvmlDeviceGetPowerUsage(self, handle: Handle) -> int:
        """Its power [mW]."""
        return self._number("nvmlDeviceGetPowerUsage", handle)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int:
        """Its energy since the driver was loaded [mJ]."""
        energy_mj = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.byref(energy_mj))
        return energy_mj.value

    def nvmlDeviceGetMigMode(self, handle: Handle) -> tuple[int, int]:
        """Whether it is cut into slices, and whether it will be."""
        current, pending = ctypes.c_uint(), ctypes.c_uint()
        self._call("nvmlDeviceGetMigMode", handle, ctypes.byref(current), ctypes.byref(pending))
        return current.value, pending.value

    def nvmlDeviceGetSamples(self, handle: Handle, kind: int, after_us: int) -> tuple[int, Sequence[_Sample]]:
        """Type of the values, and the samples that are newer than a time [µs]."""
        value_type, count = ctypes.c_int(), ctypes.c_uint()
        told = (handle, ctypes.c_int(kind), ctypes.c_ulonglong(after_us))
        self._call("nvmlDeviceGetSamples", *told, ctypes.byref(value_type), ctypes.byref(count), None)
        samples = (_Sample * count.value)()
        self._call("nvmlDeviceGetSamples", *told, ctypes.byref(value_type), ctypes.byref(count), samples)
        return value_type.value, samples[: count.value]

    def _number(self, name: str, handle: Handle) -> int:
        number = ctypes.c_uint()
        self._call(name, handle, ctypes.byref(number))
        return number.value

    def _text(self, name: str, handle: Handle) -> str:
        text = ctypes.create_string_buffer(TEXT_BYTES)
        self._call(name, handle, text, ctypes.c_uint(TEXT_BYTES))
        return text.value.decode("utf-8", "replace")

    def _call(self, name: str, *arguments: object) -> None:
        try:
            code = getattr(self.nvmlLib, name)(*arguments)
        except AttributeError:
            raise NVMLErrorFunctionNotFound(FUNCTION_NOT_FOUND) from None
        if code:
            raise (NVMLErrorNotFound if code == NOT_FOUND else NVMLError)(code)
