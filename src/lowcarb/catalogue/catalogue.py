"""`Catalogue`: sourced figures, looked up by id or by any usual name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Self, TypeVar, get_args

from lowcarb.catalogue import tables
from lowcarb.catalogue.devices import devices
from lowcarb.catalogue.names import cpu_key, key
from lowcarb.catalogue.published import published
from lowcarb.catalogue.records import Cpu, CpuFamily, Equivalent, Memory, ModelFacts, ModelKind, Published, Task
from lowcarb.catalogue.sites import ANYWHERE, WORLD, Sites
from lowcarb.catalogue.tables import Row
from lowcarb.core.hardware import Device
from lowcarb.core.site import Site
from lowcarb.core.source import Source
from lowcarb.core.units import GIGA
from lowcarb.errors import CatalogueError

Entry = TypeVar("Entry")


class Catalogue:
    """Devices, sites, processors, models and everyday equivalents, each with its sources.

    Each table is read once, when it is first asked for. All figures are in SI units.
    """

    def __init__(self, read: Callable[..., Iterable[Row]] = tables.read) -> None:
        """A catalogue over tables that `read` gives by name; those of the package unless told otherwise."""
        self._read = read

    @classmethod
    def load(cls) -> Self:
        """The catalogue that ships with the package."""
        return cls()

    def device(self, name: str) -> Device:
        """The device of an id or of a usual name, such as `t4` or `NVIDIA A100-SXM4-80GB`.

        Raises:
            CatalogueError: there is none; the error names the nearest.
        """
        return _find("device", name, self._devices, self._aliases["device"])

    def devices(self) -> tuple[Device, ...]:
        """All devices."""
        return tuple(self._devices.values())

    def site(self, name: str) -> Site:
        """The site of an id or of a usual name, such as `fra`, `FR`, `France`, `us-ca` or `europe-west1`.

        Its intensity is the mean of a year: an hour may lie far from it. Its building's figures are wide and assumed
        unless the operator publishes them, and it has no price of electricity.

        Raises:
            CatalogueError: there is none; the error names the nearest.
        """
        ids = {id_: id_ for id_ in self._sites}
        return self._sites.site(_find("site", name, ids, self._site_names))

    def unknown_site(self) -> Site:
        """The world's average with a wide interval, for a machine of which nobody said where it stands."""
        # A training begins with this: of the tables, the rows are parsed that it needs.
        facts = [fact for place in (WORLD, ANYWHERE) for fact in self._read("site_facts", (place,))]
        return replace(Sites(self._read("sites", (WORLD,)), facts).site(WORLD), declared=False)

    def housed(self, site: Site, devices: float) -> Site:
        """The site as so many accelerators of one run find it.

        Where its operator publishes no PUE, a mean of all buildings stands in; large numbers stand in large buildings,
        which use less.
        """
        known = site.pue != self._sites.stand_in(1.0)
        return site if known else replace(site, pue=self._sites.stand_in(devices))

    def sites(self) -> tuple[Site, ...]:
        """All sites."""
        return tuple(self._sites.site(id_) for id_ in self._sites)

    def cpu(self, name: str) -> Cpu | None:
        """The processor of a model name as in `/proc/cpuinfo`, or None where the name is unknown or says nothing."""
        wanted = cpu_key(name)
        if wanted not in self._cpus:
            self._cpus[wanted] = self._find_cpu(wanted)
        return self._cpus[wanted]

    def cpu_names(self) -> Iterator[str]:
        """Model names of all processors, in lower case."""
        return (cpu_key(row["name"]) for row in self._read("cpus"))

    def cpu_family(self, vendor: str, family: int | None, model: int | None) -> CpuFamily:
        """The processor family of a vendor id, family and model number as in `/proc/cpuinfo`.

        An unknown one is the vendor's servers of any family, an unknown vendor the servers of any vendor: wider each
        time. All are `assumed`.
        """
        known = self._cpu_families
        exact = (vendor, str(family), str(model))
        return known.get(exact) or known.get((vendor, "", "")) or known["", "", ""]

    def memory(self, name: str) -> Memory:
        """The kind of memory of an id: dram, gddr6, hbm.

        Raises:
            CatalogueError: there is none; the error names the nearest.
        """
        return _find("memory", name, {one.id: one for one in self.memories()}, {})

    def memories(self) -> tuple[Memory, ...]:
        """All kinds of memory."""
        return tuple(_memory(row) for row in self._read("memory"))

    def model(self, name: str) -> ModelFacts:
        """The model of an id or of a usual name; an organisation before a slash does not matter.

        Raises:
            CatalogueError: there is none; the error names the nearest.
        """
        return _find("model", name.rpartition("/")[2], self._models, self._aliases["model"])

    def models(self) -> tuple[ModelFacts, ...]:
        """All models."""
        return tuple(self._models.values())

    def published_run(self, name: str) -> Published:
        """What was published on the training of an id, such as `bloom-176b`; an organisation does not matter.

        Raises:
            CatalogueError: there is none; the error names the nearest.
        """
        return _find("published", name.rpartition("/")[2], self._published, self._aliases["published"])

    def published(self) -> tuple[Published, ...]:
        """All trainings of which figures were published."""
        return tuple(self._published.values())

    def tasks(self) -> tuple[Task, ...]:
        """All well-known fine-tunings."""
        return tuple(self._tasks.values())

    def task(self, name: str) -> Task:
        """The well-known fine-tuning of an id.

        Raises:
            CatalogueError: there is none; the error names the nearest.
        """
        return _find("task", name, self._tasks, {})

    def source(self, name: str) -> Source:
        """The source of an id.

        Raises:
            CatalogueError: there is none; the error names the nearest.
        """
        return _find("source", name, self._sources, {})

    def sources(self, names: Iterable[str] | None = None) -> tuple[Source, ...]:
        """The sources of some ids, each once, in order; all of them where no ids are given.

        Raises:
            CatalogueError: one of the ids is unknown.
        """
        return tuple(self.source(name) for name in dict.fromkeys(self._sources if names is None else names))

    def equivalents(self) -> tuple[Equivalent, ...]:
        """Everyday things with their carbon or energy."""
        return tuple(_equivalent(row) for row in self._read("equivalents"))

    @cached_property
    def _devices(self) -> Mapping[str, Device]:
        return devices(self._read("devices"))

    @cached_property
    def _sites(self) -> Sites:
        return Sites(self._read("sites"), self._read("site_facts"))

    @cached_property
    def _site_names(self) -> Mapping[str, str]:
        return {**self._sites.names(), **self._aliases["site"]}

    @cached_property
    def _cpus(self) -> dict[str, Cpu | None]:
        """Processors that were asked for: a machine has one of the thousands."""
        return {}

    def _find_cpu(self, wanted: str) -> Cpu | None:
        # Every model has a number. Most virtual machines tell none, and need not read the longest table.
        if not any(letter.isdigit() for letter in wanted):
            return None
        # Every word of a key is in the name as it was, but the version, which may be glued on; most rows lack one.
        words = [word for word in wanted.split() if not word.startswith("v")]
        found = [row for row in self._read("cpus", words) if cpu_key(row["name"]) == wanted]
        return _cpu(found[-1]) if found else None

    @cached_property
    def _cpu_families(self) -> Mapping[tuple[str, str, str], CpuFamily]:
        return {(row["vendor_id"], row["family"], row["model"]): _family(row) for row in self._read("cpu_families")}

    @cached_property
    def _models(self) -> Mapping[str, ModelFacts]:
        return {row["id"]: _model(row) for row in self._read("models")}

    @cached_property
    def _published(self) -> Mapping[str, Published]:
        return {row["id"]: published(row) for row in self._read("published")}

    @cached_property
    def _tasks(self) -> Mapping[str, Task]:
        return {row["id"]: _task(row) for row in self._read("tasks")}

    @cached_property
    def _sources(self) -> Mapping[str, Source]:
        return {row["id"]: Source(**row) for row in self._read("sources")}

    @cached_property
    def _aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Ids by other names, by kind."""
        found: dict[str, dict[str, str]] = {"device": {}, "model": {}, "site": {}, "published": {}}
        for row in self._read("aliases"):
            found[row["kind"]][key(row["alias"])] = row["id"]
        return found


def _find(kind: str, name: str, known: Mapping[str, Entry], aliases: Mapping[str, str]) -> Entry:
    wanted = key(name)
    try:
        return known[wanted if wanted in known else aliases[wanted]]
    except KeyError:
        raise CatalogueError(kind, name, {*known, *aliases}) from None


def _cpu(row: Row) -> Cpu:
    return Cpu(
        name=row["name"],
        tdp_w=float(row["tdp_w"]),
        cores=tables.count(row["cores"]),
        threads=tables.count(row["threads"]),
        sources=tables.sources(row),
        basis=tables.basis(row),
        clock_hz=float(row["clock_ghz"]) * GIGA if row["clock_ghz"] else None,
    )


def _family(row: Row) -> CpuFamily:
    share = "tdp_w_per_thread"
    return CpuFamily(
        name=row["name"],
        tdp_w_per_thread=tables.figure(row, mid=share, low=f"{share}_low", high=f"{share}_high"),
        sources=tables.sources(row),
    )


def _memory(row: Row) -> Memory:
    field, amount = tables.choice(row["field"], ("power", "embodied")), tables.figure(row)
    return Memory(
        id=row["id"],
        name=row["name"],
        power_w_per_byte=amount if field == "power" else None,
        embodied_g_per_byte=amount if field == "embodied" else None,
        sources=tables.sources(row),
    )


def _model(row: Row) -> ModelFacts:
    return ModelFacts(
        id=row["id"],
        family=row["family"],
        kind=tables.choice(row["kind"], get_args(ModelKind)),
        layers=int(row["layers"]),
        decoder_layers=int(row["decoder_layers"] or "0"),
        width=int(row["width"]),
        ff=int(row["ff"]),
        heads=int(row["heads"]),
        vocab=int(row["vocab"]),
        positions=int(row["positions"]),
        parameters=int(row["parameters"]),
        active_parameters=int(row["active_parameters"] or row["parameters"]),
        sources=tables.sources(row),
        basis=tables.basis(row),
        kv_heads=int(row["kv_heads"] or row["heads"]),
        experts=int(row["experts"] or "1"),
        experts_per_token=int(row["experts_per_token"] or "1"),
    )


def _task(row: Row) -> Task:
    return Task(
        id=row["id"],
        title=row["title"],
        examples=int(row["examples"]),
        epochs=float(row["epochs"]),
        batch=int(row["batch"]),
        length=int(row["length"]),
        sources=tables.sources(row),
        basis=tables.basis(row),
    )


def _equivalent(row: Row) -> Equivalent:
    amount = tables.figure(row)
    return Equivalent(
        id=row["id"],
        title=row["title"],
        carbon_g=amount if row["unit"] == "gCO2e" else None,
        energy_j=amount if row["unit"] == "J" else None,
        sources=tables.sources(row),
    )
