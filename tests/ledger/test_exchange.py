"""What comes in from elsewhere, and what goes out again."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowcarb.catalogue import Catalogue
from lowcarb.core.documents import energy_from_dict, machine_from_dict, site_from_dict
from lowcarb.core.estimate import BASES
from lowcarb.core.footprint import footprint_from_dict
from lowcarb.core.totals import total_energy
from lowcarb.errors import DataError, SettingError
from lowcarb.ledger.exchange import format_of, reader
from lowcarb.ledger.exchange.base import Settings
from lowcarb.ledger.exchange.cells import RISKY, defused, restored
from lowcarb.ledger.exchange.codecarbon_out import HEADER
from lowcarb.ledger.exchange.enter import take_in
from lowcarb.ledger.exchange.out import write_codecarbon, write_csv, write_file, write_lines
from lowcarb.ledger.exchange.reprice import REPRICED, annotated, reprice
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.ledger.query import Query
from lowcarb.tracker.document import spell_of

_spec = importlib.util.spec_from_file_location("exchange_files", Path(__file__).with_name("exchange_files.py"))
files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(files)
HEADERS, OUTPUT_LOG, STANDARD_LOG, emissions = files.HEADERS, files.OUTPUT_LOG, files.STANDARD_LOG, files.emissions

J_PER_KWH = 3.6e6
LINE = (
    '{"lowcarb_ledger":1,"run":{"key":"k","kind":"%s","name":"n"},'
    '"attempts":[{"id":"a","status":"done","started_ns":1,"ended_ns":2,"document":%s}]}'
)
HOSTILE = [
    "line\nbreak\r\ttab", "nul\0inside", "x" * 10_000, "../../etc/passwd", "'; DROP TABLE run; --",
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "<script>alert(1)</script>", "＝1",
]  # fmt: skip


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def brought(ledger, tmp_path):
    """Takes the text of a file into the ledger."""

    def bring(text, name="emissions.csv", *, zone="UTC", encoding="utf-8", **how):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return take_in(ledger, reader(format_of(path), path, Settings(zone)), name, **how)

    return bring


def attempts(ledger):
    return [attempt for run in ledger.runs() for attempt in ledger.attempts(run.id)]


def written(write, ledger):
    text = io.StringIO()
    write(ledger, Query(), text)
    return text.getvalue()


@pytest.mark.parametrize("version", HEADERS)
def test_codecarbon_files_of_all_versions_give_the_same_energy_and_carbon(brought, ledger, version):
    taken = brought(emissions({}, version=version))

    [attempt] = attempts(ledger)
    assert (taken.runs, taken.broken) == (1, 0)
    assert attempt.energy_j == pytest.approx(0.11 * J_PER_KWH)
    assert attempt.operational_g == pytest.approx(10.0)
    assert attempt.ended_ns - attempt.started_ns == 3600 * 10**9
    assert attempt.document["site"]["id"] == "fra"
    assert attempt.document["provenance"]["kind"] == "imported"


@pytest.mark.parametrize(
    ("version", "energy_kwh", "emissions_kg"),
    [("2.3.4", 1.163095603750745e-4, 7.83810127367627e-6), ("3.3.2", 6.302865940602099e-5, 3.5320630444540107e-6)],
)
def test_rows_that_codecarbon_itself_wrote(brought, ledger, version, energy_kwh, emissions_kg):
    header = HEADERS["2.3" if version == "2.3.4" else version]
    brought(f"{header}\n{files.WRITTEN[version]}\n")
    [attempt] = attempts(ledger)

    assert (energy_kwh * 3.6e6, emissions_kg * 1e3) == pytest.approx((attempt.energy_j, attempt.operational_g))
    assert "=cmd|'x'!A0 real" == ledger.runs()[0].name
    assert (0.0, "fra") == (attempt.document["footprint"]["measured_share"], attempt.document["site"]["id"])


def test_what_was_imported_is_read_like_what_was_tracked(brought, ledger):
    brought(emissions({}))

    document = attempts(ledger)[0].document
    assert machine_from_dict(document["machine"]).devices
    assert site_from_dict(document["site"]).declared
    footprint, energy = footprint_from_dict(document["footprint"]), energy_from_dict(document["energy"])
    assert energy.energy_j == footprint.energy_j
    hours = sum(hour["energy_j"]["mid"] for hour in document["hours"])
    assert hours == pytest.approx(footprint.energy_j.mid)
    assert {device.kind: device.energy_j.basis for device in energy.devices} == {
        "gpu": "measured", "cpu": "modelled", "dram": "modelled",
    }  # fmt: skip
    assert footprint.energy_j.low < footprint.energy_j.mid < footprint.energy_j.high


def test_the_buildings_share_is_taken_out_of_codecarbons_energy(brought, ledger):
    brought(emissions({"pue": "1.25"}))

    attempt = attempts(ledger)[0]
    assert attempt.energy_j == pytest.approx(0.11 / 1.25 * J_PER_KWH)
    assert attempt.operational_g == pytest.approx(10.0)


@pytest.mark.parametrize(("zone", "ended"), [("UTC", 12), ("Europe/Paris", 10), ("-05:00", 17)])
def test_times_without_a_zone_are_taken_for_the_named_one_and_said_so(brought, ledger, zone, ended):
    taken = brought(emissions({}), zone=zone)

    [attempt] = attempts(ledger)
    assert attempt.ended_ns == 1_777_593_600 * 10**9 + ended * 3600 * 10**9
    assert any(zone in remark for remark in taken.remarks)


def test_an_unknown_zone_is_refused(brought):
    with pytest.raises(SettingError, match="zone"):
        brought(emissions({}), zone="Mars/Olympus")


def test_a_gpu_that_reads_nothing_is_unknown_and_not_zero(brought, ledger):
    brought(emissions({"gpu_energy": "0", "energy_consumed": "0.05"}))

    document = attempts(ledger)[0].document
    assert {device["kind"] for device in document["energy"]["devices"]} == {"cpu", "dram"}
    assert any("gpu_energy is 0" in fault for fault in document["faults"])


def test_a_run_of_which_nothing_was_read_has_no_energy(brought, ledger):
    nothing = dict.fromkeys(("cpu_energy", "gpu_energy", "ram_energy", "energy_consumed"), "0.0")
    brought(emissions(nothing))

    assert attempts(ledger)[0].energy_j is None


def test_no_place_is_the_worlds_wide_mean_and_quebec_is_doubted(brought, ledger):
    brought(
        emissions(
            {"country_iso_code": "", "country_name": "", "region": ""},
            {"run_id": "r2", "country_iso_code": "CAN", "region": "quebec", "timestamp": "2026-06-01T12:00:00"},
        )
    )

    by_key = {run.key: ledger.attempts(run.id)[0].document for run in ledger.runs()}
    assert by_key["codecarbon:r1"]["site"]["declared"] is False
    assert any("Quebec" in fault for fault in by_key["codecarbon:r2"]["faults"])


def test_the_same_file_twice_gives_each_run_once(brought, ledger):
    text = emissions({}, {"run_id": "r2", "timestamp": "2026-05-02T12:00:00"})
    first, second = brought(text), brought(text)

    assert (first.runs, second.runs, second.known) == (2, 0, 2)
    assert len(attempts(ledger)) == 2


def test_totals_of_one_run_until_then_are_one_attempt_the_longest(brought, ledger):
    half = {"timestamp": "2026-05-01T11:30:00", "duration": "1800", "emissions": "0.005", "cpu_energy": "0.02",
            "gpu_energy": "0.03", "ram_energy": "0.005", "energy_consumed": "0.055"}  # fmt: skip
    brought(emissions(half))
    grown = brought(emissions(half, {}))

    [attempt] = attempts(ledger)
    assert grown.updated == 1
    assert attempt.energy_j == pytest.approx(0.11 * J_PER_KWH)


RANKS = ({"run_id": "r1"}, {"run_id": "r2", "timestamp": "2026-05-01T12:00:01"})


def test_rows_of_ranks_are_flagged_and_counted_once_when_they_are_said_to_be_one_machine(brought, ledger):
    taken = brought(emissions(*RANKS))
    flagged = attempts(ledger)

    assert taken.overlaps == 2
    assert all(any("at the same time" in fault for fault in one.document["faults"]) for one in flagged)
    twice = total_energy([spell_of(one) for one in flagged])
    assert twice.energy_j.mid == pytest.approx(0.22 * J_PER_KWH)

    brought(emissions(*RANKS), one_node=True)
    once = total_energy([spell_of(one) for one in attempts(ledger)])
    assert len(attempts(ledger)) == 2
    assert once.energy_j.mid == pytest.approx(0.11 * J_PER_KWH, rel=0.01)


@pytest.mark.parametrize(
    "other",
    [
        {"timestamp": "2026-05-01T13:00:00"},  # one after the other
        {"project_name": "another"},
        {"gpu_model": "1 x A100"},
    ],
)
def test_rows_that_cannot_be_ranks_are_not_flagged(brought, other):
    assert brought(emissions({}, {"run_id": "r2", **other})).overlaps == 0


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("duration", "abc", "line 3, column 5: duration: 'abc' is not a number"),
        ("emissions", "nan0", "column 6: emissions"),
        ("cpu_energy", "-1", "column 11: cpu_energy: -1 is below zero"),
        ("gpu_energy", "inf", "not a finite number"),
        ("timestamp", "yesterday", "line 3, column 1: timestamp"),
        ("pue", "0.5", "at least 1"),
    ],
)
def test_a_broken_row_is_named_by_line_and_column_and_nothing_is_taken(brought, ledger, column, value, expected):
    with pytest.raises(DataError) as caught:
        brought(emissions({}, {"run_id": "r2", column: value}))

    assert expected in str(caught.value)
    assert ledger.runs() == []


def test_keep_going_takes_the_rest_and_counts(brought, ledger):
    taken = brought(emissions({}, {"run_id": "r2", "duration": "x"}, {"run_id": "r3"}), keep_going=True)

    assert (taken.runs, taken.broken) == (2, 1)
    assert {run.key for run in ledger.runs()} == {"codecarbon:r1", "codecarbon:r3"}


def test_a_row_whose_values_have_shifted_is_refused(brought):
    head, row = emissions({}).splitlines()
    shifted = ",".join(cell for cell in row.split(",") if cell)

    with pytest.raises(DataError, match=r"line 2, column \d+: \d+ cells under 38 column names"):
        brought(f"{head}\n{shifted}\n")


def test_files_of_two_versions_behind_each_other_are_read(brought, ledger):
    brought(emissions({}, version="2.3") + emissions({"run_id": "r2"}))

    assert len(ledger.runs()) == 2


def test_byte_order_mark_semicolons_and_decimal_commas_are_read(brought, ledger):
    text = emissions({"duration": "3600,0", "cpu_energy": "0,04"}, separator=";")
    brought("\ufeff" + text)
    brought(text, encoding="utf-16")

    assert [one.energy_j for one in attempts(ledger)] == [pytest.approx(0.11 * J_PER_KWH)]


@settings(max_examples=150)
@given(content=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@pytest.mark.parametrize("name", ["emissions.csv", "ledger.jsonl", "x_carbontracker.log", "mlflow.db"])
def test_no_file_is_a_crash(tmp_path_factory, name, content):
    path = tmp_path_factory.getbasetemp() / name
    head = emissions({}).encode() if name == "emissions.csv" else b""
    path.write_bytes(head + content)
    ledger = MemoryLedger()

    try:
        take_in(ledger, reader(format_of(path), path, Settings()), name, keep_going=True)
    except DataError:
        assert ledger.runs() == []


def test_carbontracker_logs_give_the_energy_of_the_epochs_that_were_monitored(ledger, tmp_path):
    (tmp_path / "7_2022-11-14T154100Z_carbontracker.log").write_text(STANDARD_LOG)
    (tmp_path / "7_2022-11-14T154100Z_carbontracker_output.log").write_text(OUTPUT_LOG)
    for _ in range(2):
        take_in(ledger, reader("carbontracker", tmp_path, Settings()), "logs")

    [attempt] = attempts(ledger)
    document = attempt.document
    drawn = {device["kind"]: device for device in document["energy"]["devices"]}
    assert drawn["gpu"]["energy_j"]["mid"] == pytest.approx(100.5 * 120 + 99.0 * 60)
    assert drawn["gpu"]["energy_j"]["basis"] == "measured"
    # A third of the time the processor was not read: its energy there is modelled by its mean.
    assert drawn["cpu"]["energy_j"]["mid"] == pytest.approx(20.0 * 180)
    assert drawn["cpu"]["energy_j"]["basis"] == "modelled"
    assert drawn["cpu"]["coverage"] == pytest.approx(2 / 3)
    assert document["site"]["id"] == "dnk"
    assert document["site"]["intensity_g_per_kwh"]["mid"] == pytest.approx(101.97)
    assert any("2 of 10 epochs" in fault for fault in document["faults"])


def test_a_carbontracker_log_that_names_no_place_has_wide_carbon(ledger, tmp_path):
    """60 W for 9.35 s are 561 J; × PUE 1.58 × 445 g/kWh = 0.10957 g; its own sum says 0.10964 g, before rounding."""
    (tmp_path / "a_carbontracker.log").write_text(files.WITHOUT_A_PLACE_LOG)
    (tmp_path / "a_carbontracker_output.log").write_text(files.WITHOUT_A_PLACE_OUTPUT)
    take_in(ledger, reader("carbontracker", tmp_path, Settings("UTC")), "logs")
    [attempt] = attempts(ledger)

    assert 561.0 == pytest.approx(attempt.energy_j)
    carbon_g = footprint_from_dict(attempt.document["footprint"]).operational_g
    assert 0.10964 == pytest.approx(carbon_g.mid, rel=2e-3)
    assert carbon_g.high > 2.0 * carbon_g.low
    assert "assumed" == carbon_g.basis
    assert not attempt.document["site"]["declared"]
    assert any("no place" in fault for fault in attempt.document["faults"])


def test_a_carbontracker_sum_alone_has_the_buildings_share_taken_out(ledger, tmp_path):
    path = tmp_path / "7_carbontracker_output.log"
    path.write_text(OUTPUT_LOG)
    take_in(ledger, reader("carbontracker", path, Settings()), "log")

    [attempt] = attempts(ledger)
    assert attempt.energy_j == pytest.approx(0.00948 / 1.58 * J_PER_KWH)
    assert attempt.operational_g == pytest.approx(0.9666756)


def test_a_broken_carbontracker_log_names_the_line(ledger, tmp_path):
    path = tmp_path / "x_carbontracker.log"
    path.write_text(STANDARD_LOG.replace("0:01:00.00", "a minute"))

    with pytest.raises(DataError, match=r"line 10, column 1: 'a minute' is not a duration"):
        take_in(ledger, reader("carbontracker", path, Settings()), "log")


@pytest.mark.filterwarnings("ignore")  # of mlflow's own dependencies
@pytest.mark.parametrize("store", ["file", "sqlite"])
def test_mlflow_runs_with_an_energy_come_in(ledger, tmp_path, store, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = tmp_path / ("mlruns" if store == "file" else "mlflow.db")
    uri = where.as_uri() if store == "file" else f"sqlite:///{where}"
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = client.create_experiment("summaries")
    except mlflow.exceptions.MlflowException as error:
        pytest.skip(f"this mlflow makes no {store} store: {error}")
    energetic = client.create_run(experiment, run_name="warm", start_time=1_000_000_000_000)
    for step, value in enumerate((0.05, 0.11)):
        client.log_metric(energetic.info.run_id, "energy_consumed", value, step=step)
    client.log_metric(energetic.info.run_id, "emissions", 0.01)
    client.set_terminated(energetic.info.run_id, end_time=1_000_003_600_000)
    other = client.create_run(experiment, start_time=1_000_000_000_000)
    client.log_metric(other.info.run_id, "loss", 1.0)
    client.set_terminated(other.info.run_id, end_time=1_000_003_600_000)

    for _ in range(2):
        taken = take_in(ledger, reader("mlflow", where, Settings()), "store")

    [attempt] = attempts(ledger)
    assert [run.name for run in ledger.runs()] == ["warm"]
    assert attempt.energy_j == pytest.approx(0.11 * J_PER_KWH)
    assert attempt.operational_g == pytest.approx(10.0)
    assert attempt.ended_ns == 1_000_003_600_000 * 10**6
    assert taken.known == 1
    assert any("1 runs log no energy" in remark for remark in taken.remarks)


numbers = st.floats(0, 1e12)
documents = st.fixed_dictionaries(
    {"tokens": st.integers(0, 2**60), "notes": st.dictionaries(st.text(max_size=5), numbers | st.text() | st.none())},
    optional={"faults": st.lists(st.text(max_size=5))},
)
texts = st.text(st.characters(exclude_categories=()), max_size=20)
goes = st.tuples(st.sampled_from(["done", "failed", "interrupted", "running"]), st.integers(0, 2**60), documents)


@given(runs=st.dictionaries(texts, st.tuples(texts, st.none() | texts, st.lists(goes, min_size=1, max_size=3))))
def test_jsonl_makes_the_same_ledger_again(tmp_path_factory, runs):
    ledger, other = MemoryLedger(), MemoryLedger()
    for number, (key, (name, study, tries)) in enumerate(runs.items()):
        for place, (status, started_ns, document) in enumerate(tries):
            id_ = f"{number}-{place}"
            ledger.begin(attempt_id=id_, key=key, kind="track", name=name, study=study, started_ns=started_ns)
            if status != "running":
                ledger.finish(id_, status=status, ended_ns=started_ns + 1, document=document)
    path = tmp_path_factory.getbasetemp() / "again.jsonl"
    path.write_text(written(write_lines, ledger), encoding="ascii")

    if runs:
        for _ in range(2):
            take_in(other, reader("jsonl", path, Settings()), "again")

    assert [(run, ledger.attempts(run.id)) for run in ledger.runs()] == [
        (run, other.attempts(run.id)) for run in other.runs()
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "line 1, column 2"),
        ("[]", "line 1, column 1"),
        ('{"lowcarb_ledger":1,"run":{"key":5,"kind":"track","name":"n"},"attempts":[]}', "attempt"),
        (LINE % ("no", "{}"), "one of trial, track"),
        (LINE % ("track", '{"energy":{}}'), "document.energy"),
    ],
)  # fmt: skip
def test_a_broken_line_of_jsonl_is_named(brought, line, expected):
    with pytest.raises(DataError) as caught:
        brought(line, "l.jsonl")

    assert expected in str(caught.value)


def test_an_attempt_of_another_run_is_not_overwritten(brought, ledger):
    ledger.begin(attempt_id="a", key="mine", kind="track", name="mine", study=None, started_ns=1)
    before = ledger.finish("a", status="done", ended_ns=2, document={"tokens": 1})
    line = {"lowcarb_ledger": 1, "run": {"key": "theirs", "kind": "track", "name": "n"}, "attempts": [
        {"id": "a", "status": "done", "started_ns": 5, "ended_ns": 6, "document": {"tokens": 2}}]}  # fmt: skip
    taken = brought(json.dumps(line), "l.jsonl")

    assert taken.broken == 1
    assert attempts(ledger) == [before]


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_cell_is_never_live_and_comes_back_whole(text):
    cell = defused(text)

    assert restored(cell) == text
    try:
        float(cell)
    except ValueError:
        assert not cell.startswith(tuple(RISKY))


@pytest.mark.parametrize("number", ["-5", "+1e3", "-.5", "12", "-3.25E-7"])
def test_numbers_stay_numbers(number):
    assert defused(number) == number
    assert defused(float(number)) == float(number)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("write", [write_csv, write_codecarbon])
def test_hostile_names_are_harmless_in_csv_and_come_back(ledger, name, write):
    ledger.begin(attempt_id="a", key=name, kind="track", name=name, study=name, started_ns=1)
    ledger.finish("a", status="done", ended_ns=2, document={})
    [row] = csv.DictReader(io.StringIO(written(write, ledger), newline=""))

    assert restored(row["project_name" if write is write_codecarbon else "name"]) == name
    for cell in row.values():
        assert cell == defused(restored(cell))


@pytest.mark.parametrize("name", [one for one in HOSTILE if one[0] not in "'\r"])
def test_hostile_project_names_of_codecarbon_come_in_unchanged(brought, ledger, name):
    brought(emissions({"project_name": name}))

    assert name.strip() == ledger.runs()[0].name.strip()
    [row] = csv.DictReader(io.StringIO(written(write_csv, ledger), newline=""))
    assert row["name"] == defused(restored(row["name"]))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_mlflow_runs_come_in_unchanged(ledger, tmp_path, name):
    run = tmp_path / "mlruns" / "0" / "r1"
    (run / "metrics").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text(json.dumps({"name": name, "experiment_id": "0"}))
    facts = {"run_id": "r1", "run_name": name, "status": 3, "start_time": 1_700_000_000_000,
             "end_time": 1_700_003_600_000, "lifecycle_stage": "active"}  # fmt: skip
    (run / "meta.yaml").write_text(json.dumps(facts))
    (run / "metrics" / "energy_consumed").write_text("1700003600000 0.25 0\n")
    take_in(ledger, reader("mlflow", tmp_path / "mlruns", Settings("UTC")), "mlruns")

    [found] = ledger.runs()
    assert name == found.name
    assert name == ledger.tag(found.id, {})["project"]
    assert 0.25 * J_PER_KWH == pytest.approx(attempts(ledger)[0].energy_j)


def test_codecarbons_header_is_exact_and_its_own_rows_come_back(brought, ledger):
    brought(emissions({"pue": "1.25"}))
    text = written(write_codecarbon, ledger)
    [row] = csv.DictReader(io.StringIO(text))

    assert text.splitlines()[0] == HEADERS["3.3.2"] == ",".join(HEADER)
    assert row["timestamp"] == "2026-05-01T12:00:00"
    figures = {"duration": 3600, "emissions": 0.01, "cpu_energy": 0.04, "gpu_energy": 0.06, "ram_energy": 0.01,
               "energy_consumed": 0.11, "cpu_power": 0.04 / 1.25 * 1000, "emissions_rate": 0.01 / 3600}  # fmt: skip
    assert {name: float(row[name]) for name in figures} == pytest.approx(figures)
    assert (row["country_iso_code"], row["gpu_model"], row["tracking_mode"]) == ("FRA", "1 x Tesla T4", "machine")


def test_what_is_unknown_is_an_empty_cell(ledger):
    ledger.begin(attempt_id="a", key="k", kind="track", name="n", study=None, started_ns=1)
    ledger.finish("a", status="failed", ended_ns=2, document={})
    [row] = csv.DictReader(io.StringIO(written(write_codecarbon, ledger)))

    assert row["energy_consumed"] == row["emissions"] == row["gpu_energy"] == row["cpu_count"] == ""


def test_parquet_has_typed_columns(brought, ledger, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    brought(emissions({}))

    assert write_file(ledger, Query(), "parquet", tmp_path / "x.parquet") == 1
    table = parquet.read_table(tmp_path / "x.parquet")
    kinds = {name: str(table.schema.field(name).type) for name in ("energy_j_mid", "started_ns", "ended", "name")}
    assert kinds == {
        "energy_j_mid": "double", "started_ns": "int64", "ended": "timestamp[ns, tz=UTC]", "name": "string",
    }  # fmt: skip
    assert table["energy_j_mid"].to_pylist() == [pytest.approx(0.11 * J_PER_KWH)]


def test_a_file_that_cannot_be_finished_leaves_the_old_one(ledger, tmp_path, brought):
    path = tmp_path / "x.csv"
    path.write_text("old")
    brought(emissions({}))
    ledger.close()

    with pytest.raises(Exception, match="closed"):
        write_file(ledger, Query(), "csv", path)
    assert [one.read_text() for one in tmp_path.glob("x.csv*")] == ["old"]


def test_repricing_gives_each_hours_energy_the_new_place_and_changes_nothing_recorded(brought, ledger):
    brought(emissions({}))
    [attempt] = attempts(ledger)
    site = Catalogue.load().site("deu")
    one = reprice(attempt, site)
    document = annotated(one, 5)

    expected = 0.11 * site.pue.mid * site.intensity_g_per_kwh.mid
    assert one.after_g.mid == pytest.approx(expected)
    assert one.before_g.mid == pytest.approx(10.0)
    assert one.hours == 1
    assert {name: part for name, part in document.items() if name != REPRICED} == attempt.document
    assert document[REPRICED][0]["operational_g"]["basis"] in BASES
    # The same site again gives way to the newer answer; another stands beside it.
    ledger.finish(attempt.id, status="done", ended_ns=attempt.ended_ns, document=document)
    again = reprice(attempts(ledger)[0], site)
    assert len(annotated(again, 6)[REPRICED]) == 1
