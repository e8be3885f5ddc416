"""FLOPs, bytes and memory against published figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.workload import ModelSpec, step_cost, training_workload
from lowcarb.errors import SettingError

BERT_BASE = ModelSpec("bert-base", "encoder", 12, 768, 3072, 12, 30522, positions=512)
BERT_LARGE = ModelSpec("bert-large", "encoder", 24, 1024, 4096, 16, 30522, positions=512)
T5_BASE = ModelSpec("t5-base", "encoder-decoder", 12, 768, 3072, 12, 32128, decoder_layers=12, output_vocabulary=True)


@pytest.mark.parametrize(("spec", "published"), [(BERT_BASE, 110e6), (BERT_LARGE, 340e6), (T5_BASE, 223e6)])
def test_parameters_match_the_papers(spec, published):
    """Devlin et al. 2019, section 3; Raffel et al. 2020, section 2.1 (t5-base, tied embeddings)."""
    assert published == pytest.approx(spec.parameters, rel=0.02)


def test_a_forward_pass_of_bert_base_takes_the_flops_that_electra_counted():
    """Clark et al. 2020 (arXiv 2003.10555), table 1: BERT-base infers 128 tokens in 2.9e10 FLOPs; they count the
    output layer over the vocabulary for pretraining apart, and so do we."""
    assert 2.2e10 < BERT_BASE.forward_flops(1, 128) < 2.9e10


def test_training_costs_six_flops_a_weight_and_token_where_attention_is_short():
    cost = step_cost(BERT_LARGE, batch=1, length=128)

    assert 6 * BERT_LARGE.body_parameters * 128 == pytest.approx(cost.flops, rel=0.05)


@given(st.integers(1, 64), st.integers(1, 512), st.integers(1, 511))
def test_longer_sequences_and_larger_batches_never_cost_less(batch, length, more):
    less, longer = BERT_BASE.forward_flops(batch, length), BERT_BASE.forward_flops(batch, length + more)

    assert less < longer
    assert less < BERT_BASE.forward_flops(batch + 1, length)


def test_a_full_fine_tuning_of_bert_base_at_batch_16_fits_a_t4():
    """The paper's own setting: batch 16, 384 tokens, on a 16 GB T4."""
    workload = training_workload(BERT_BASE, steps=1, batch=16, length=384)

    assert 3e9 < workload.memory_bytes < 16e9


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": -1}, {"length": 0}, {"precision": "fp64"}])
def test_impossible_settings_are_refused_by_name(wrong):
    settings = {"steps": 1, "batch": 1, "length": 8} | wrong

    with pytest.raises(SettingError, match=next(iter(wrong))):
        training_workload(BERT_BASE, **settings)
