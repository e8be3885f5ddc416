"""What surrounds this process and so decides what its figures mean: container, virtual machine, batch job, ranks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lowcarb.sensors.sysfs import text

CLOUDS = {
    "Amazon EC2": "Amazon EC2",
    "Google": "Google Cloud",
    "DigitalOcean": "DigitalOcean",
    "Hetzner": "Hetzner Cloud",
    "Alibaba Cloud": "Alibaba Cloud",
    "OpenStack Foundation": "OpenStack",
    "OVHcloud": "OVHcloud",
    "Scaleway": "Scaleway",
    "Vultr": "Vultr",
    "Microsoft Corporation": "Microsoft Azure or Hyper-V",
}
"""Name of the cloud by the vendor that the firmware tells (DMI sys_vendor; cloud-init, tools/ds-identify)."""
VIRTUAL_MICROSOFT = "Virtual Machine"
"""Microsoft makes machines too; the virtual ones have this name."""
CHOICES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
)
"""Environment variables that choose GPUs."""
IMPORT_LIMIT_S = 20.0
"""How long an import may take: amdsmi loads a library that may wait for a driver."""
GPUS_OF_JOB = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
_MARKS = (("kubepods", "kubernetes"), ("libpod", "podman"), ("docker", "docker"), ("containerd", "unknown"),
          ("lxc", "unknown"))  # fmt: skip
"""What the name of a control group tells of who made it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A SLURM job."""

    id: str
    cpus: str | None
    """Logical processors of this node that it holds."""
    gpus: str | None
    """GPUs of this node that it holds, as SLURM names them."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One of the processes that torchrun, accelerate or another launcher started."""

    rank: int
    world: int
    local_rank: int
    local_world: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What surrounds this process. None where there is no such thing."""

    container: str | None
    """docker, podman, kubernetes, apptainer, or unknown for another one."""
    cloud: str | None
    job: Job | None
    rank: Rank | None
    choices: Mapping[str, str]
    """The environment variables that choose GPUs, as far as they are set."""


def look_around(
    environ: Mapping[str, str],
    *,
    root: Path = Path("/"),
    proc_root: Path = Path("/proc"),
    sysfs_root: Path = Path("/sys"),
) -> Surroundings:
    """See what surrounds this process. Asks no network; what cannot be read is taken for absent.

    Args:
        environ: the environment variables.
        root: the root of the file system.
        proc_root: where procfs is mounted.
        sysfs_root: where sysfs is mounted.
    """
    return Surroundings(
        container=_container(environ, root, proc_root),
        cloud=_cloud(sysfs_root / "class" / "dmi" / "id"),
        job=_job(environ),
        rank=_rank(environ),
        choices={name: environ[name] for name in CHOICES if name in environ},
    )


def amdsmi_fault(python: str = sys.executable) -> str | None:
    """What is wrong with an installed amdsmi; None if it imports or is not installed.

    Its import fails where ROCm's library is not, with an error that is no ImportError, so that whatever tries it, such
    as Ray, breaks. It is tried in a process of its own, which it may not survive.

    Args:
        python: the interpreter that tries it.
    """
    if find_spec("amdsmi") is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter with a fixed program
            [python, "-c", "import amdsmi"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_LIMIT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return type(error).__name__
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"it ends with {done.returncode}"])[-1][:200]


def _container(environ: Mapping[str, str], root: Path, proc_root: Path) -> str | None:
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "kubernetes"
    if "APPTAINER_CONTAINER" in environ or "SINGULARITY_CONTAINER" in environ:
        return "apptainer"
    if (root / "run" / ".containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    groups = text(proc_root / "self" / "cgroup")
    named = next((name for mark, name in _MARKS if mark in groups), None)
    # systemd's convention, which LXC and Podman follow: the first process is told what it runs in.
    return named or ("unknown" if environ.get("container") else None)


def _cloud(dmi: Path) -> str | None:
    vendor, product = text(dmi / "sys_vendor"), text(dmi / "product_name")
    if vendor == "Microsoft Corporation" and product != VIRTUAL_MICROSOFT:
        return None
    return CLOUDS.get(vendor)


def _job(environ: Mapping[str, str]) -> Job | None:
    if "SLURM_JOB_ID" not in environ:
        return None
    gpus = next((environ[name] for name in GPUS_OF_JOB if name in environ), None)
    return Job(environ["SLURM_JOB_ID"], environ.get("SLURM_CPUS_ON_NODE"), gpus)


def _rank(environ: Mapping[str, str]) -> Rank | None:
    if "LOCAL_RANK" not in environ:
        return None
    usual = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    try:
        rank, world, local_rank, local_world = (int(environ.get(name, default)) for name, default in usual.items())
    except ValueError:
        return None
    return Rank(rank, world, local_rank, local_world)
