"""`studies/paper.yaml` with local stand-ins for the hub: the same code, small folders and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab extra is not installed")

from transformers import (  # noqa: E402
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from lowcarb.catalogue import Catalogue  # noqa: E402
from lowcarb.core.check import check  # noqa: E402
from lowcarb.core.hardware import Machine  # noqa: E402
from lowcarb.lab.data import load_corpus  # noqa: E402
from lowcarb.lab.preflight import preflight  # noqa: E402
from lowcarb.lab.runner import TorchRunner  # noqa: E402
from lowcarb.lab.study import Bench, run_study  # noqa: E402
from lowcarb.lab.studyfile import read_study  # noqa: E402
from lowcarb.lab.tokenizers import trained_tokenizer  # noqa: E402
from lowcarb.ledger.memory import MemoryLedger  # noqa: E402
from lowcarb.report.records import read_study as recorded  # noqa: E402
from lowcarb.report.study import study_document  # noqa: E402
from lowcarb.sensors.replay import Replay  # noqa: E402

PAPER = Path(__file__).parents[2] / "studies" / "paper.yaml"
TEXT = [
    f"The {kind} station number {n} was built in {1900 + n} near the river and burns {n} tonnes of {kind} a day."
    for n in range(40)
    for kind in ("coal", "peat", "wood")
]


def questions(texts):
    return {
        "data": [
            {"title": "t", "paragraphs": [{"context": text, "qas": [{
                "id": str(i), "question": "When was the station built?",
                "answers": [{"text": text.split("built in ")[1][:4], "answer_start": text.index("built in ") + 9}],
            }]}]}
            for i, text in enumerate(texts)
        ]
    }  # fmt: skip


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Folders and files in the place of the hub's, by the key of the study file that they override."""
    root = tmp_path_factory.mktemp("hub")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    uncased, cased = (trained_tokenizer(kind, "bert", TEXT, 400) for kind in ("wordpiece", "bpe"))
    unigram = trained_tokenizer("unigram", "t5", TEXT, 400)
    models = {
        "bert-cased": (BertForMaskedLM(BertConfig(vocab_size=len(cased), **small)), cased),
        "bert-uncased": (BertForMaskedLM(BertConfig(vocab_size=len(uncased), **small)), uncased),
        "distilbert": (
            DistilBertForMaskedLM(
                DistilBertConfig(vocab_size=len(uncased), dim=32, n_layers=2, n_heads=2, hidden_dim=64)
            ),
            uncased,
        ),
        "t5": (
            T5ForConditionalGeneration(
                T5Config(
                    vocab_size=len(unigram), d_model=32, d_ff=64, d_kv=16, num_layers=1, num_heads=2,
                    decoder_start_token_id=unigram.pad_token_id, eos_token_id=unigram.eos_token_id,
                )
            ),
            unigram,
        ),
    }  # fmt: skip
    for name, (model, tokenizer) in models.items():
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    files = {"train": TEXT[:60], "validation": TEXT[60:90], "adversarial": TEXT[90:]}
    for name, texts in files.items():
        (root / f"{name}.json").write_text(json.dumps(questions(texts)))
    overrides = [f"models.{name}.source={root / name}" for name in models]
    overrides += [f"tokenizers.from-{name}.source={root / name}" for name in ("bert-cased", "distilbert", "t5")]
    return [*overrides, *(f"data.{name}={root / name}.json" for name in files)]


class Silent:
    def progress(self, progress): ...

    def ended(self, trial, number, trials, status, error):
        assert "done" == status, error

    def skipped(self, trial, number, trials): ...


def test_the_papers_study_runs_from_local_folders_and_files(stand_ins):
    """Every arm of the paper, cross-swapped tokenizers and all, trains, answers, is scored, metered and compared."""
    catalogue = Catalogue.load()
    study = read_study(
        PAPER, [*stand_ins, "recipe.max_steps=2", "recipe.batch=4", "recipe.length=64", "recipe.stride=16",
                "inference.length=64", "inference.stride=16", "inference.answer_tokens=4", "seeds=[0]"],
    )  # fmt: skip

    corpus, facts = preflight(study, PAPER.parent, catalogue)
    findings = check(study, facts)
    ledger = MemoryLedger()
    bench = Bench(ledger, catalogue, Machine("m", "M", (), 2, 1e9), catalogue.site("fra"), (Replay.steady(20.0),), 0.1)
    whole = run_study(study, corpus, TorchRunner(), bench, Silent())
    document = study_document(*recorded(ledger, "paper"), catalogue, catalogue.site("fra"), findings)

    assert whole
    assert {("no-op-swap", "bert-uncased/from-distilbert")} == {
        (f.check, f.where) for f in findings if f.check == "no-op-swap"
    }
    by_arm = {trial["arm"]: trial for trial in document["trials"]}
    assert {arm.id for arm in study.arms} == set(by_arm)
    assert all(trial["footprint"]["energy_j"]["mid"] > 0 for trial in by_arm.values())
    swapped = by_arm["bert-cased/from-t5"]["remap"]
    assert 1.0 == pytest.approx(sum(swapped.values()))
    assert by_arm["bert-uncased/from-distilbert"]["remap"] is None
    training = [json.loads(json.dumps(r.facts["training"])) for r in recorded(ledger, "paper")[1]]
    assert {(2, 2)} == {(facts["steps"], facts["metered_steps"]) for facts in training}
    assert load_corpus(study.data).digest == corpus.digest


def test_a_tokenizer_is_trained_once():
    """Training one twice gives two vocabularies, and then two trials are no pair."""
    program = (
        "import sys, json; from lowcarb.lab.tokenizers import trained_tokenizer as t; text = json.loads(sys.argv[1]);"
        "kinds = ('wordpiece', 'bpe', 'unigram');"
        "print(json.dumps([sorted(t(kind, 't5', text, 500).get_vocab().items()) for kind in kinds]))"
    )
    command = [sys.executable, "-c", program, json.dumps(list(TEXT))]

    vocabularies = {subprocess.run(command, capture_output=True, check=True, timeout=120).stdout for _ in range(2)}

    assert len(vocabularies) == 1


def test_a_damaged_tokenizer_is_trained_anew_and_one_that_cannot_be_kept_is_used(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("LOWCARB_HOME", str(tmp_path))
    first = trained_tokenizer("bpe", "bert", TEXT, 400).get_vocab()
    (kept,) = (tmp_path / "tokenizers").iterdir()
    kept.write_text("{", encoding="utf-8")

    assert trained_tokenizer("bpe", "bert", TEXT, 400).get_vocab() == first
    assert kept.stat().st_size > 1

    (tmp_path / "file").touch()
    monkeypatch.setenv("LOWCARB_HOME", str(tmp_path / "file"))
    assert trained_tokenizer("bpe", "bert", TEXT, 400).get_vocab() == first
    assert "cannot be kept" in caplog.text
