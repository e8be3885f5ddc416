"""`lowcarb forecast`: by totals, by task, by probe, in batches, and what it refuses."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lowcarb.cli.app import run

REFERENCE = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def lowcarb(capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def command(*arguments):
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def document(lowcarb):
    """The JSON document of a forecast."""

    def of(*arguments):
        code, out, err = lowcarb("forecast", *arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return of


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


LLAMA = {"params": 6.7e9, "tokens": 1e12, "device": "A100-80", "count": 2048, "precision": "16bit", "site": "us"}


def test_a_published_run_is_inside_its_interval(document):
    """Llama 1 7B took 82,432 A100 hours (Touvron et al. 2023, arXiv 2302.13971, table 15)."""
    (scenario,) = document("--params", 6.7e9, "--tokens", 1e12, "--device", "A100-80", "--site", "us")["scenarios"]

    assert scenario["accelerator_hours"]["low"] < 82432 < scenario["accelerator_hours"]["high"]
    assert scenario["energy_kwh"]["accelerator"]["mid"] < scenario["energy_kwh"]["node"]["mid"]
    assert scenario["energy_kwh"]["node"]["mid"] <= scenario["energy_kwh"]["facility"]["mid"]


def test_a_batch_answers_each_row_in_order_as_the_options_would(document, tmp_path):
    rows = [LLAMA, LLAMA | {"tokens": 2e12}, LLAMA | {"device": "H100", "count": "", "site": "fra"}]

    answers = document("--batch", table(tmp_path / "plan.csv", rows))["scenarios"]

    assert 1.7 < answers[1]["accelerator_hours"]["mid"] / answers[0]["accelerator_hours"]["mid"] < 2
    alone = document(
        "--params", 6.7e9, "--tokens", 1e12, "--device", "a100-sxm4-80gb", "--count", 2048, "--site", "us",
        "--precision", "16bit",
    )["scenarios"][0]  # fmt: skip
    for name in ("accelerator_hours", "energy_kwh", "operational_kg"):
        assert answers[0][name] == alone[name]
    assert answers[2]["duration_h"] is None


def test_a_rows_own_grid_and_building_stand(document, tmp_path):
    stated = LLAMA | {"site": "", "pue": 1.1, "intensity_g_per_kwh": 400}

    (answer,) = document("--batch", table(tmp_path / "plan.csv", [stated]))["scenarios"]

    energy, carbon = answer["energy_kwh"], answer["operational_kg"]
    assert energy["facility"]["mid"] == pytest.approx(1.1 * energy["node"]["mid"])
    assert carbon["mid"] == pytest.approx(0.4 * energy["facility"]["mid"])
    assert carbon["basis"] != "assumed"
    devices = answer["operational_kg_of_devices"]["mid"]
    assert devices == pytest.approx(0.4 * 1.1 * energy["accelerator"]["mid"])


def test_a_rows_carbon_is_there_as_papers_count_it_and_whole(document, tmp_path):
    stated = LLAMA | {"pue": 1.1, "intensity_g_per_kwh": 400}
    (answer,) = document("--batch", table(tmp_path / "plan.csv", [stated]))["scenarios"]

    energy, by_scope = answer["energy_kwh"], answer["operational_kg_by_scope"]
    for scope in ("accelerator", "node", "facility"):
        assert by_scope[scope]["mid"] == pytest.approx(0.4 * energy[scope]["mid"])
    assert by_scope["facility"] == answer["operational_kg"]
    rated_kwh = answer["accelerator_hours"]["mid"] * 0.4  # an A100 is rated 400 W
    assert by_scope["published"]["mid"] == pytest.approx(0.4 * 1.1 * rated_kwh)
    assert by_scope["accelerator"]["mid"] < by_scope["published"]["mid"] < by_scope["facility"]["mid"]
    assert by_scope["published"]["low"] < by_scope["published"]["mid"] < by_scope["published"]["high"]


def test_a_tpus_published_carbon_is_the_facilitys(document, tmp_path):
    (answer,) = document("--batch", table(tmp_path / "plan.csv", [LLAMA | {"device": "TPUv4"}]))["scenarios"]

    assert answer["operational_kg_by_scope"]["published"] == answer["operational_kg"]


def test_carbon_of_a_grid_without_any_is_zero_in_every_scope(document, tmp_path):
    stated = LLAMA | {"intensity_g_per_kwh": 0}
    (answer,) = document("--batch", table(tmp_path / "plan.csv", [stated]))["scenarios"]

    assert {one["mid"] for one in answer["operational_kg_by_scope"].values()} == {0.0}


def test_a_large_run_stands_in_a_large_building_and_one_that_says_else_does_not(document, tmp_path):
    rows = [LLAMA | {"pue": ""}, LLAMA | {"pue": "", "count": 8}, LLAMA | {"pue": 1.5}]
    answers = document("--batch", table(tmp_path / "plan.csv", rows))["scenarios"]

    shares = [one["energy_kwh"]["facility"]["mid"] / one["energy_kwh"]["node"]["mid"] for one in answers]
    assert shares == pytest.approx([1.13, 1.54, 1.5])


def test_a_batch_names_everything_that_is_wrong_with_it(lowcarb, tmp_path):
    rows = [
        LLAMA,
        LLAMA | {"tokens": 0},
        LLAMA | {"device": "A100-81"},
        LLAMA | {"count": "many"},
        LLAMA | {"pue": 0.9},
    ]
    rows = [{"pue": ""} | row for row in rows]

    code, out, err = lowcarb("forecast", "--batch", table(tmp_path / "plan.csv", rows), "--json")

    assert (2, "") == (code, out)
    for words in ("line 3: tokens", "line 4: no device 'A100-81'", "line 5: count", "line 6: pue"):
        assert words in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("params,tokens\n1e9,1e9\n", "device is missing"),
        ("params,token,device\n1e9,1e9,t4\n", "did you mean tokens"),
        ("params,tokens,device\n", "no rows"),
        ("params,tokens,device\n1e9,1e9,t4,9\n", "line 2: 4 cells under 3"),
        ("", "params is missing"),
        ("params,tokens,device\n1e9,,t4\n", "line 2: tokens"),
        ("params,tokens,device\ninf,1e9,t4\n", "line 2: params"),
    ],
)
def test_a_file_that_is_no_batch_is_refused(lowcarb, tmp_path, text, said):
    file = tmp_path / "plan.csv"
    file.write_text(text)

    code, out, err = lowcarb("forecast", "--batch", file, "--json")

    assert (2, "") == (code, out)
    assert said in err


def test_columns_that_mean_nothing_are_left_alone_and_said(lowcarb, tmp_path):
    code, _, err = lowcarb("forecast", "--batch", table(tmp_path / "plan.csv", [LLAMA | {"row_id": "a"}]), "--json")

    assert code == 0
    assert "row_id" in err


PAIR = {
    "model": "BERT-large", "phase": "finetune", "framework": "PyTorch", "precision": "fp16-mixed", "batch": 32,
    "seq_len": 384, "device": "v100-sxm3-32gb", "throughput": 100.0, "other_device": "a100-sxm4-40gb",
}  # fmt: skip


def test_a_contrast_answers_each_pair(document, tmp_path):
    rows = [PAIR, PAIR | {"throughput": 200.0}, PAIR | {"other_device": "v100-sxm3-32gb"}]

    first, doubled, itself = document("--contrast", table(tmp_path / "pairs.csv", rows))["contrasts"]

    assert 1.0 < first["other_throughput"]["mid"] / 100.0 < 4.0
    assert doubled["other_throughput"]["mid"] == pytest.approx(2 * first["other_throughput"]["mid"])
    assert itself["other_throughput"]["mid"] == pytest.approx(100.0)
    assert first["other_watts"]["low"] <= first["other_watts"]["mid"] <= first["other_watts"]["high"]


def test_every_published_run_and_every_pair_is_answered(document, tmp_path):
    """Device names as they are written in the public tables resolve."""
    published = REFERENCE / "published_footprints.csv"
    if not published.exists():
        pytest.skip("the reference tables are not here")
    with published.open() as file:
        runs = [row for row in csv.DictReader(file) if row["training_tokens_B"] and row["params_total_B"]]
    rows = [
        {
            "params": float(row["params_total_B"]) * 1e9, "tokens": float(row["training_tokens_B"]) * 1e9,
            "active_params": float(row["params_active_B"]) * 1e9 if row["params_active_B"] else "",
            "layers": row["n_layers"], "width": row["d_model"], "family": row["arch_type"],
            "precision": row["precision"], "device": row["accelerator"], "count": row["accelerator_count"],
            "site": row["region"], "pue": row["pue"], "intensity_g_per_kwh": row["grid_gco2_kwh"],
        }
        for row in runs if row["accelerator"] and "/" not in row["accelerator"]
    ]  # fmt: skip

    assert len(rows) == len(document("--batch", table(tmp_path / "runs.csv", rows))["scenarios"])

    with (REFERENCE / "gpu_training_throughput.csv").open() as file:
        jobs = [row for row in csv.DictReader(file) if row["throughput"] and row["phase"] != "inference"]
    pairs = [
        {
            "model": row["model"], "phase": row["phase"], "framework": row["framework"], "precision": row["precision"],
            "batch": row["batch_per_gpu"], "seq_len": row["seq_len"], "device": row["accelerator"],
            "throughput": row["throughput"], "other_device": "a100-sxm4-40gb", "watts": row["avg_power_w_per_gpu"],
        }
        for row in jobs
    ]  # fmt: skip

    assert len(pairs) == len(document("--contrast", table(tmp_path / "jobs.csv", pairs))["contrasts"])


def test_devices_stand_side_by_side_with_both_sides_of_each(document):
    first, other = document(
        "--model", "bert-base-cased", "--task", "squad", "--device", "t4", "--device", "a100-sxm4-40gb", "--site", "fra"
    )["scenarios"]

    assert first["energy_ratio_to_first"] is None
    assert first["precision"] == "fp32"
    assert not first["benefits"]
    ratio = other["energy_ratio_to_first"]
    assert ratio["low"] < ratio["mid"] < ratio["high"]
    assert any("quicker" in words for words in other["benefits"])
    assert any("dearer" in words or "embodied" in words for words in other["drawbacks"])


def test_a_config_of_hugging_face_will_do(document, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
        "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }))  # fmt: skip
    named = document("--config", tmp_path, "--tokens", 3e12, "--device", "A100-40", "--count", 16)["scenarios"][0]
    by_hand = document("--params", 1.1e9, "--tokens", 3e12, "--device", "A100-40", "--count", 16)["scenarios"][0]

    assert named["accelerator_hours"]["mid"] == pytest.approx(by_hand["accelerator_hours"]["mid"], rel=0.05)


def test_a_probe_narrows_the_interval_and_goes_over_to_other_devices(document):
    wanted = ("--model", "bert-base-cased", "--task", "squad", "--device", "t4", "--device", "a100-sxm4-40gb")

    blind = document(*wanted)["scenarios"]
    probed = document(*wanted, "--probe", 4000, "--probe-watts", 65)["scenarios"]

    def width(scenario):
        return scenario["footprint"]["duration_s"]["high"] / scenario["footprint"]["duration_s"]["low"]

    tokens = 87599 * 3 * 384
    assert probed[0]["footprint"]["duration_s"]["mid"] == pytest.approx(tokens / 4000, rel=0.1)
    assert probed[0]["power_w"]["mid"] == pytest.approx(65)
    for one, other in zip(probed, blind, strict=True):
        assert width(one) < width(other)


def test_requests_share_the_training_and_a_smaller_model_pays_in_the_end(document):
    serving = document(
        "--params", 1e9, "--tokens", 1e11, "--device", "h100-sxm5", "--count", 8,
        "--requests", 1e9, "--instead-of", "7e9",
    )["serving"]  # fmt: skip

    assert serving["request_with_training_j"]["mid"] > serving["request_j"]["mid"] > 0
    pays = serving["break_even_requests"]
    assert 0 < pays["low"] < pays["mid"] < pays["high"]


def test_people_get_a_table(lowcarb):
    code, out, _ = lowcarb(
        "forecast", "--params", 7e9, "--tokens", 2e12, "--device", "a100-sxm4-80gb", "--device", "h100-sxm5",
        "--count", 1024, "--site", "us", "--requests", 1e9, "--instead-of", "70e9",
    )  # fmt: skip

    assert code == 0
    for words in ("known least", "+ h100-sxm5: ", "pays after", "bf16", "500 tokens read, 250 written"):
        assert words in out


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ("--params 7e9 --tokens 0 --device t4", "tokens"),
        ("--params 7e9 --tokens 1e9 --device t4 --count -1", "count"),
        ("--params 7e9 --tokens 1e9 --device t4 --precision fp8", "precision"),
        ("--params 7e9 --tokens 1e9 --device t4 --pue 0.8", "pue"),
        ("--params 7e9 --tokens 1e9 --device t4 --intensity -1", "intensity"),
        ("--params 7e9 --active-params 8e9 --tokens 1e9 --device t4", "active_params"),
        ("--params 7e9 --tokens 1e9", "device"),
        ("--params 7e9 --model bert-base-cased --tokens 1e9 --device t4", "params"),
        ("--model bert-base-cased --task squad --tokens 1e9 --device t4", "tokens"),
        ("--model bert-base-cased --examples -5 --device t4", "examples"),
        ("--params 7e9 --examples 5 --device t4", "model"),
        ("--device t4", "forecast"),
        ("--params 7e9 --tokens 1e9 --device t4 --probe 0", "probe"),
        ("--params 7e9 --tokens 1e9 --device t4 --probe-watts 60", "probe"),
        ("--params 7e9 --tokens 1e9 --device t4 --requests 0", "requests"),
        ("--params 7e9 --run nothing --device t4", "run"),
        ("--batch a.csv --contrast b.csv", "contrast"),
        ("--params 7e9 --tokens 1e9 --device t4 --lora 8", "lora"),
        ("--model bert-base-cased --task squad --device t4 --lora 0", "lora_rank"),
        ("--config nowhere --tokens 1e9 --device t4", "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_by_name(lowcarb, arguments, field):
    code, out, err = lowcarb("forecast", *arguments.split(), "--json")

    assert (2, "") == (code, out)
    assert field in err


def test_what_does_not_fit_says_what_would(document):
    wanted = ("--model", "llama-2-7b", "--examples", 1000, "--batch-size", 8, "--length", 1024, "--precision", "fp16")

    (full,) = document(*wanted, "--device", "t4")["scenarios"]
    (adapters,) = document(*wanted, "--device", "h100-sxm5", "--lora", 8)["scenarios"]

    assert full["fits"] is False
    assert full["remedies"]
    assert adapters["fits"] is not False
    assert adapters["memory_bytes"]["optimizer_bytes"]["mid"] < full["memory_bytes"]["optimizer_bytes"]["mid"] / 100


def test_adapters_cost_less_and_recomputation_more(document):
    wanted = ("--model", "bert-base-cased", "--task", "squad", "--device", "a100-sxm4-40gb")

    plain, adapters, again = (
        document(*wanted, *more)["scenarios"][0]["footprint"]["energy_j"]["mid"]
        for more in ((), ("--lora", 8), ("--checkpointing",))
    )

    assert adapters < plain < again


TRAINING = """
import time, lowcarb
with lowcarb.track("fine-tune", site="fra", interval_s=0.1) as run:
    with run.phase("train"):
        time.sleep(3.0)
        run.tokens(30_000)
"""


def _rig():
    """The simulated NVML of `tests/rig`, which is no package."""
    spec = importlib.util.spec_from_file_location("rig", Path(__file__).parents[1] / "rig" / "rig.py")
    rig = importlib.util.module_from_spec(spec)
    sys.modules["rig"] = rig
    spec.loader.exec_module(rig)
    return rig


def test_a_run_on_one_device_is_projected_onto_another(document, tmp_path):
    """Simulated: an A100 that draws 300 W and trains on 10,000 tokens/s."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    rig = _rig()
    try:
        nvml = rig.SimulatedNvml(tmp_path, [rig.SimulatedGpu(curve=rig.Constant(300.0), name="NVIDIA A100-SXM4-80GB")])
    except rig.RigUnavailable as reason:
        pytest.skip(str(reason))
    subprocess.run([sys.executable, "-c", TRAINING], env=os.environ | dict(nvml.env), check=True, timeout=60)
    listed = json.loads(subprocess.run(
        [sys.executable, "-m", "lowcarb", "ledger", "list", "--json"], capture_output=True, check=True, timeout=60
    ).stdout)  # fmt: skip
    (run_id,) = (one["id"] for one in listed["runs"])

    here, there = document(
        "--run", run_id, "--params", 1e9, "--tokens", 1e12, "--device", "a100-sxm4-80gb", "--device", "h100-sxm5"
    )["scenarios"]

    assert here["count"] == there["count"] == 1
    assert here["power_w"]["mid"] == pytest.approx(300.0, rel=0.1)
    assert here["footprint"]["duration_s"]["mid"] == pytest.approx(1e12 / 10_000, rel=0.1)
    assert here["footprint"]["duration_s"]["mid"] > there["footprint"]["duration_s"]["mid"]
    assert there["energy_ratio_to_first"]["low"] < there["energy_ratio_to_first"]["high"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--model", "bert-base-cased", "--task", "squad", "--examples", "0"], "examples"),
        (["--model", "bert-base-cased", "--task", "squad", "--epochs", "0"], "epochs"),
        (["--model", "bert-base-cased", "--task", "squad", "--batch-size", "0"], "batch-size"),
        (["--model", "bert-base-cased", "--task", "squad", "--length", "0"], "length"),
        (["--params", "7e9", "--tokens", "1e12", "--epochs", "3"], "epochs"),
        (["--params", "7e9", "--tokens", "1e12", "--pue", "nan"], "pue"),
        (["--params", "7e9", "--tokens", "1e12", "--intensity", "inf"], "intensity"),
        (["--params", "7e9", "--tokens", "1e12", "--requests", "1e6", "--output-tokens", "nan"], "output-tokens"),
    ],
)
def test_a_zero_or_no_number_is_refused_by_name_and_never_replaced(lowcarb, options, name):
    code, _, err = lowcarb("forecast", "--device", "t4", *options)

    assert code == 2
    assert name in err
