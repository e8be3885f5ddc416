"""Energy, power and carbon as OpenTelemetry metrics, by the user's own MeterProvider.

with lowcarb.track("fine-tune", site="fra") as run:
    lowcarb.integrations.opentelemetry.export(run)
    train()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lowcarb.integrations.instruments import INSTRUMENTS, Instrument, observed
from lowcarb.integrations.live import EVERY_S, Live, needed
from lowcarb.tracker.track import Tracker


def export(tracker: Tracker | None = None, *, meter_provider: Any = None, every_s: float = EVERY_S) -> Live:
    """Register observable instruments, and look at this tracker.

    Args:
        tracker: whose figures; another one may follow it by `follow` on what this gives. It may be started later.
        meter_provider: OpenTelemetry's; the global one where None. Call this once for one provider.
        every_s: time between two looks at the tracker [s]; an export gives what the last look saw.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
        SettingError: `every_s` is not what it may be.
    """
    metrics = needed("opentelemetry.metrics", "OpenTelemetry", "otel")
    live = Live(every_s)
    live.guard.run("opentelemetry", lambda: _register(metrics, meter_provider, live), None)
    return live if tracker is None else live.follow(tracker)


def _register(metrics: Any, provider: Any, live: Live) -> None:
    meter = (provider or metrics.get_meter_provider()).get_meter("lowcarb")
    for one in INSTRUMENTS:
        create = meter.create_observable_counter if one.kind == "counter" else meter.create_observable_gauge
        create(one.name, callbacks=[_callback(metrics, one, live)], unit=one.unit, description=one.description)


def _callback(metrics: Any, instrument: Instrument, live: Live) -> Callable[[Any], Iterable[Any]]:
    def observe(options: Any) -> Iterable[Any]:
        del options
        figures = live.latest
        values = [] if figures is None else observed(instrument, figures)
        return [metrics.Observation(value, dict(attributes)) for value, attributes in values]

    return observe
