"""The OpenTelemetry exporter with the real SDK, and its names in Prometheus."""

from __future__ import annotations

import threading
import time

import pytest

from lowcarb.tracker.track import track

sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="the otel extra is not installed")

from opentelemetry.sdk.metrics.export import (  # noqa: E402  # after the check
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from lowcarb.integrations.opentelemetry import export  # noqa: E402  # after the check


def exported(reader, settings):
    """A look at a run through this reader, and what the exporter saw."""
    provider = sdk.MeterProvider(metric_readers=[reader])
    live = export(meter_provider=provider, every_s=3600.0)
    with track("work", **settings) as run:
        live.follow(run)
        time.sleep(0.3)
        live.look()
        time.sleep(0.3)
        figures = live.look()
    return provider, live, figures


def test_instruments_follow_the_conventions(settings):
    reader = InMemoryMetricReader()
    provider, live, figures = exported(reader, settings)

    scope = reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
    live.stop()
    provider.shutdown()
    found = {metric.name: metric for metric in scope.metrics}
    (energy,), (power,) = found["hw.energy"].data.data_points, found["hw.power"].data.data_points
    assert ("J", "W", "g") == tuple(found[n].unit for n in ("hw.energy", "hw.power", "lowcarb.operational_carbon"))
    assert found["hw.energy"].data.is_monotonic
    wanted = {"hw.id": "replay-0", "hw.type": "gpu", "hw.name": "gpu replay-0", "lowcarb.basis": "measured"}
    assert wanted == dict(energy.attributes) == dict(power.attributes)
    assert energy.value == pytest.approx(figures.footprint.energy_j.mid)
    assert power.value == pytest.approx(50.0, rel=0.01)
    assert "hw.host.energy" not in found


def test_an_exporter_that_hangs_does_not_hold_up_our_end(settings):
    asked, let_go = threading.Event(), threading.Event()

    class Hanging(MetricExporter):
        def export(self, metrics_data, timeout_millis=10_000, **named):
            asked.set()
            let_go.wait(60.0)
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis=10_000):
            return True

        def shutdown(self, timeout_millis=30_000, **named):
            pass

    reader = PeriodicExportingMetricReader(Hanging(), export_interval_millis=50)
    provider, live, _ = exported(reader, settings)

    assert asked.wait(30.0)
    # It gives the time that is left of the second.
    assert live.stop(30.0) > 15.0
    provider.shutdown(timeout_millis=100)
    assert not let_go.is_set()
    let_go.set()


def test_names_and_labels_in_prometheus_are_those_of_the_direct_exporter(settings):
    client = pytest.importorskip("prometheus_client")
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    from lowcarb.integrations.prometheus import LowcarbCollector  # noqa: PLC0415

    def shapes(registry):
        return {
            (sample.name, frozenset(name for name in sample.labels if not name.startswith("otel_scope")))
            for family in registry.collect()
            for sample in family.samples
            if family.name not in ("target", "lowcarb_run")
        }

    provider, live, _ = exported(exporter.PrometheusMetricReader(), settings)
    by_otel = shapes(client.REGISTRY)
    by_otel = {shape for shape in by_otel if shape[0].startswith(("hw_", "lowcarb_"))}
    collector = LowcarbCollector(None)
    collector.live = live
    registry = client.CollectorRegistry()
    registry.register(collector)
    direct = shapes(registry)
    live.stop()
    provider.shutdown()

    assert direct == by_otel
    assert {"hw_energy_joules_total", "hw_power_watts", "lowcarb_operational_carbon_grams_total"} <= {
        n for n, _ in direct
    }
