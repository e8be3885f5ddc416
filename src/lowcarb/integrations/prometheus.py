"""Energy, power and carbon for Prometheus: a page to scrape, a text file, or a push.

    with lowcarb.track("fine-tune", site="fra") as run:
        lowcarb.integrations.prometheus.serve(9464).follow(run)
        train()

The names are those that OpenTelemetry's exporter gives to the same figures, so that one dashboard serves both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from lowcarb.errors import SettingError
from lowcarb.integrations.instruments import INSTRUMENTS, Instrument, observed
from lowcarb.integrations.live import EVERY_S, Figures, Live, label, needed
from lowcarb.tracker.track import Tracker

MOST_FAILURES = 3
"""After so many failures in a row a file or gateway is told nothing more."""
SERVE_S = 2.0
"""How long it is waited for a port [s]: a name that has to be looked up may take its time."""
RUN_INFO = "lowcarb_run"


class LowcarbCollector:
    """A collector of prometheus_client: gives what the last look at its tracker saw.

    Args:
        registry: where it registers itself; nowhere where None.
        labels: facts for the info metric beside the run's id, such as a project: no other metric carries them.
        every_s: time between two looks at the tracker [s].

    Raises:
        MissingExtra: prometheus_client is not installed.
        SettingError: a setting is not what it may be.
        ValueError: the registry has such metrics already.
    """

    def __init__(
        self, registry: Any = None, *, labels: Mapping[str, str] | None = None, every_s: float = EVERY_S
    ) -> None:
        self._core = needed("prometheus_client.core", "Prometheus", "prometheus")
        self._labels = {label(name): label(value) for name, value in (labels or {}).items()}
        self.live = Live(every_s)
        self._server: Any = None
        self.refused: str | None = None
        """Why the port could not be had."""
        if registry is not None:
            registry.register(self)

    def follow(self, tracker: Tracker) -> Self:
        """Give this tracker's figures from now on; counters go on where the one before left them."""
        self.live.follow(tracker)
        return self

    def describe(self) -> list[Any]:
        """The metrics, without values."""
        return [*(self._family(one) for one in INSTRUMENTS), self._core.InfoMetricFamily(RUN_INFO, "The run")]

    def collect(self) -> Iterator[Any]:
        """The metrics with the values that are known; none before the first look."""
        figures = self.live.latest
        yield from [] if figures is None else self.live.guard.run("prometheus", lambda: self._families(figures), [])

    def close(self) -> None:
        """Stop looking, and serving: in a second, and who is asking then gets no answer."""
        left_s = self.live.stop()
        if self._server is not None:
            server, self._server = self._server, None

            def close() -> None:
                server.shutdown()
                server.server_close()

            self.live.guard.within(left_s, "prometheus", close)

    @property
    def port(self) -> int | None:
        """Where it is served; None where it is not."""
        return None if self._server is None else int(self._server.server_port)

    def _serve(self, port: int, address: str, registry: Any) -> None:
        client = needed("prometheus_client", "Prometheus", "prometheus")
        try:
            self._server, _ = client.start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            self.refused = error.strerror or str(error)

    def _family(self, one: Instrument) -> Any:
        make = self._core.CounterMetricFamily if one.kind == "counter" else self._core.GaugeMetricFamily
        return make(one.family, one.description, labels=[name.replace(".", "_") for name in one.attributes])

    def _families(self, figures: Figures) -> list[Any]:
        families = []
        for one in INSTRUMENTS:
            family = self._family(one)
            for value, attributes in observed(one, figures):
                family.add_metric([attributes[name] for name in one.attributes], value)
            if family.samples:
                families.append(family)
        info = self._core.InfoMetricFamily(RUN_INFO, "The run", labels=[])
        info.add_metric([], {**self._labels, "run_id": label(figures.attempt_id)})
        return [*families, info]


def serve(
    port: int, address: str = "127.0.0.1", *, labels: Mapping[str, str] | None = None, every_s: float = EVERY_S,
    strict: bool = False,
) -> LowcarbCollector:  # fmt: skip
    """A page at `http://address:port/metrics`, of lowcarb's metrics only. A port that is taken is said, and no more.

    Args:
        port: 0 for any that is free; see `port` of what this gives.
        address: this machine only by default: the page has no password.
        labels: as for `LowcarbCollector`.
        every_s: as for `LowcarbCollector`.
        strict: refuse a port that cannot be had, for those who have not begun to train yet.

    Raises:
        MissingExtra: prometheus_client is not installed.
        SettingError: a setting is not what it may be; or `strict`, and the port cannot be had.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 2**16:
        raise SettingError("prometheus", port, "a port: a number from 0 to 65535")
    registry = needed("prometheus_client", "Prometheus", "prometheus").CollectorRegistry()
    collector = LowcarbCollector(registry, labels=labels, every_s=every_s)
    guard = collector.live.guard
    # The server's threads take no signals, as their parent does not: those are for the program.
    guard.within(SERVE_S, "prometheus", lambda: collector._serve(port, address, registry))  # noqa: SLF001  # of this file
    if collector.port is None:
        why = f"it cannot be had at {address} ({collector.refused or 'no answer'})"
        if strict:
            raise SettingError("prometheus", port, f"a port that is free; {why}")
        guard.record(f"prometheus: port {port}: {why}")
    return collector


def textfile(path: str | os.PathLike[str], *, every_s: float = EVERY_S) -> LowcarbCollector:
    """Write a file for node_exporter's textfile collector at each look, at once and whole. Raises as `serve`."""
    client = needed("prometheus_client", "Prometheus", "prometheus")
    target, registry = str(Path(path)), client.CollectorRegistry()
    collector = LowcarbCollector(registry, every_s=every_s)
    collector.live.tell("prometheus file", _Patient(lambda: client.write_to_textfile(target, registry)))
    return collector


def push(gateway: str, job: str = "lowcarb", *, every_s: float = EVERY_S) -> LowcarbCollector:
    """Push to a gateway at each look. Raises as `serve`."""
    client = needed("prometheus_client", "Prometheus", "prometheus")
    registry = client.CollectorRegistry()
    collector = LowcarbCollector(registry, every_s=every_s)
    collector.live.tell("prometheus push", _Patient(lambda: client.push_to_gateway(gateway, job, registry)))
    return collector


class _Patient:
    """Lets a file system or a gateway fail a few times in a row."""

    def __init__(self, act: Any) -> None:
        self._act, self._failures = act, 0

    def __call__(self, figures: Figures) -> None:
        """Do it. Raises OSError once it has failed too often."""
        del figures
        try:
            self._act()
            self._failures = 0
        except OSError:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                raise
