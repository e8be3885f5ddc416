"""MLflow runs: a local `mlruns` folder, or an SQLite store, with the metrics that energy trackers log.

Both are read as they lie, without MLflow: opening a store through MLflow may migrate it, and this must change nothing.
The layouts are MLflow's since version 1: of a folder `EXPERIMENT/RUN/{meta.yaml,metrics/*,params/*,tags/*}`, of a
database the tables `runs`, `experiments`, `latest_metrics` and `tags`.

Taken are runs that hold an energy, under lowcarb's names (`lowcarb/energy_kwh`, `lowcarb/energy_j`, `lowcarb/co2e_g`)
or CodeCarbon's (`energy_consumed`, `emissions`, `cpu_energy`, …, also under `codecarbon/`). A run that lowcarb tracked
and this ledger has under its own id is left alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.core.energy import DeviceEnergy
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import DeviceKind
from lowcarb.core.units import G_PER_KG, KILO, MEGA, NS_PER_S, j_from_kwh
from lowcarb.ledger.base import Status
from lowcarb.ledger.exchange.base import Incoming, IncomingAttempt, Item, Problem, Settings, content_id
from lowcarb.ledger.exchange.outside import Outside, document_outside, drawn, machine_outside

PROGRAM = "mlflow"
NS_PER_MS = NS_PER_S // int(KILO)
PREFIXES = ("lowcarb/", "lowcarb.", "codecarbon/", "codecarbon.", "codecarbon_", "emissions/", "")
ENERGIES_J = {"energy_j": 1.0, "energy_kwh": None, "energy_consumed": None, "energy_consumed_kwh": None}
"""Names of a run's energy; those without a factor are in kWh."""
CARBON_G = {
    "co2e_g": 1.0, "emissions": G_PER_KG, "emissions_kg": G_PER_KG, "co2eq_emissions": 1.0, "operational_g": 1.0,
}  # fmt: skip
PARTS: Mapping[str, tuple[DeviceKind, float]] = {
    "gpu_energy": ("gpu", 1.1), "cpu_energy": ("cpu", 2.0), "ram_energy": ("dram", 5.0),
}  # fmt: skip
"""CodeCarbon's parts, in kWh: kind of device, and the factor within which they are known, as for its own files."""
RATIO = 2.0
"""The factor within which an energy without parts is known: an experiment tracker keeps no basis. `assumed`."""
LOWCARB_RATIO = 1.25
"""The same of what lowcarb logged: its own bounds are not among the metrics. `assumed`."""
CARBON_RATIO = 2.0
STATUSES: Mapping[str, Status] = {
    "FINISHED": "done", "3": "done", "FAILED": "failed", "4": "failed", "KILLED": "interrupted", "5": "interrupted",
}  # fmt: skip
LOWCARB_RUN = "lowcarb.run_id"
_SQL = {
    "runs": "SELECT run_uuid, name, experiment_id, status, start_time, end_time FROM runs"
    " WHERE lifecycle_stage = 'active' ORDER BY start_time, run_uuid",
    "experiments": "SELECT experiment_id, name FROM experiments",
    "metrics": "SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND NOT is_nan",
    "tags": "SELECT key, value FROM tags WHERE run_uuid = ?",
}


@dataclass(frozen=True, slots=True)
class _Run:
    id: str
    name: str
    experiment: str
    status: str
    start_ms: int | None
    end_ms: int | None
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def read_mlflow(path: Path, settings: Settings) -> Iterator[Item]:
    """The runs of a store that hold an energy.

    Raises:
        OSError: it cannot be read.
    """
    del settings
    catalogue, left, running = Catalogue.load(), 0, 0
    for run in _folder(path) if path.is_dir() else _database(path):
        if isinstance(run, Problem):
            yield run
        elif run.start_ms is None or run.end_ms is None:
            running += 1
        else:
            found = _incoming(run, path, catalogue)
            left += found is None
            if found is not None:
                yield found
    if left:
        yield f"{left} runs log no energy and are left out"
    if running:
        yield f"{running} runs have not ended and are left out"


def _incoming(run: _Run, path: Path, catalogue: Catalogue) -> Incoming | Problem | None:
    metrics = _known(run.metrics)
    devices = _devices(metrics)
    if not devices:
        return None
    start_ms, end_ms = run.start_ms or 0, run.end_ms or 0
    duration_s = metrics.get("duration") or metrics.get("duration_s") or (end_ms - start_ms) / KILO
    if duration_s <= 0:
        return Problem(f"run {run.id}: it took no time")
    carbon_g = next((metrics[name] * factor for name, factor in CARBON_G.items() if metrics.get(name)), None)
    site = catalogue.unknown_site()
    faults = ["where it ran is not in MLflow"]
    if carbon_g is None:
        faults.append("no emissions are logged: carbon is the world's mean, with a wide interval")
    document = document_outside(
        Outside(
            program=PROGRAM, started_ns=start_ms * NS_PER_MS, duration_s=duration_s, devices=devices,
            machine=machine_outside("a machine that nobody described", []), site=site, faults=tuple(faults),
            provenance={
                "file": path.name, "run_id": run.id, "experiment": run.experiment,
                "lowcarb_run_id": run.tags.get(LOWCARB_RUN),
                "metrics": {name: value for name, value in run.metrics.items() if _plain(name) in metrics},
            },
            operational_g=Estimate.around(carbon_g, CARBON_RATIO, "catalogue") if carbon_g else None,
        )
    )  # fmt: skip
    key = f"{PROGRAM}:{run.id}"
    attempt = IncomingAttempt(
        content_id(key, ""), STATUSES.get(run.status, "interrupted"), start_ms * NS_PER_MS, end_ms * NS_PER_MS, document
    )
    tags = {name: value for name, value in run.tags.items() if not name.startswith("mlflow.")}
    return Incoming(
        f"run {run.id}", key, "track", run.name or run.id, None, (attempt,),
        {"project": run.experiment, **tags} if run.experiment else tags, same_as=run.tags.get(LOWCARB_RUN),
    )  # fmt: skip


def _plain(name: str) -> str:
    """A metric's name without what tells whose it is."""
    prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return name.removeprefix(prefix)


def _known(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that say something here, by plain name; lowcarb's before others'."""
    wanted = {*ENERGIES_J, *CARBON_G, *PARTS, "duration", "duration_s"}
    found: dict[str, float] = {}
    for name in sorted(metrics, key=lambda one: not one.startswith("lowcarb")):
        if _plain(name) in wanted and isfinite(metrics[name]) and metrics[name] >= 0:
            found.setdefault(_plain(name), metrics[name])
            if name.startswith("lowcarb"):
                found["lowcarb"] = 1.0
    return found


def _devices(metrics: Mapping[str, float]) -> tuple[DeviceEnergy, ...]:
    parts = tuple(
        drawn(column, kind, "codecarbon", Estimate.around(j_from_kwh(metrics[column]), ratio, "modelled"))
        for column, (kind, ratio) in PARTS.items()
        if metrics.get(column)
    )
    if parts and not metrics.get("lowcarb"):
        return parts
    for name, factor in ENERGIES_J.items():
        if metrics.get(name):
            energy_j = metrics[name] * factor if factor else j_from_kwh(metrics[name])
            ratio = LOWCARB_RATIO if metrics.get("lowcarb") else RATIO
            return (drawn("machine", "machine", PROGRAM, Estimate.around(energy_j, ratio, "modelled")),)
    return parts


def _folder(path: Path) -> Iterator[_Run | Problem]:
    import yaml  # noqa: PLC0415  # only for this format

    names: dict[str, str] = {}
    for meta in sorted(path.glob("*/meta.yaml")):
        facts = _yaml(yaml, meta)
        names[meta.parent.name] = str(facts.get("name") or "") if isinstance(facts, dict) else ""
    for meta in sorted(path.glob("*/*/meta.yaml")):
        facts = _yaml(yaml, meta)
        if isinstance(facts, Problem):
            yield facts
        elif "run_id" in facts and facts.get("lifecycle_stage", "active") == "active":
            folder = meta.parent
            metrics = _metrics(folder / "metrics")
            if isinstance(metrics, Problem):
                yield metrics
                continue
            tags = {name: text.rstrip("\n") for name, text in _texts(folder / "tags")}
            yield _Run(
                str(facts["run_id"]), str(facts.get("run_name") or tags.get("mlflow.runName") or ""),
                names.get(folder.parent.name, ""), str(facts.get("status")), _whole(facts.get("start_time")),
                _whole(facts.get("end_time")), metrics, tags,
            )  # fmt: skip


def _yaml(yaml: Any, path: Path) -> dict[str, Any] | Problem:
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(f"{path.parent.name}/meta.yaml is not YAML", *place)
    return facts if isinstance(facts, dict) else Problem(f"{path.parent.name}/meta.yaml has no facts", 1, 1)


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file.read_text(encoding="utf-8", errors="replace")


def _metrics(folder: Path) -> dict[str, float] | Problem:
    """The last value of each metric: lines of time [ms], value and step."""
    found = {}
    for name, text in _texts(folder):
        if _plain(name) not in {*ENERGIES_J, *CARBON_G, *PARTS, "duration", "duration_s"}:
            continue
        lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        try:
            last = max(((int(parts[2]) if len(parts) > 2 else 0, int(parts[0]), number) for number, parts in lines))
            found[name] = float(dict(lines)[last[2]][1])
        except (ValueError, IndexError):
            number = next((n for n, parts in lines if len(parts) < 2 or not _is_number(parts[1])), 1)
            return Problem(f"metric {name}: a time, a value and a step are expected", number, 1)
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and 0 < value < NS_PER_S * int(MEGA) else None


def _database(path: Path) -> Iterator[_Run | Problem]:
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
            names = {str(id_): str(name) for id_, name in store.execute(_SQL["experiments"])}
            for id_, name, experiment, status, start, end in store.execute(_SQL["runs"]).fetchall():
                metrics = {key: float(value) for key, value in store.execute(_SQL["metrics"], (id_,))}
                tags = {key: str(value) for key, value in store.execute(_SQL["tags"], (id_,))}
                yield _Run(
                    str(id_), str(name or tags.get("mlflow.runName") or ""), names.get(str(experiment), ""),
                    str(status), _whole(start), _whole(end), metrics, tags,
                )  # fmt: skip
    except (sqlite3.Error, ValueError, TypeError) as error:
        yield Problem(f"it is not a store of MLflow: {error}", 1, 1)
