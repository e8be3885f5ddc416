"""What follows from a model's shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.shape import Method, ModelSpec
from lowcarb.errors import SettingError

LLAMA = ModelSpec(
    "llama-2-7b", "decoder", 32, 4096, 11008, 32, 32000, gated=True, output_vocabulary=True, tied=False,
    layer_vectors=2 * 4096, other_parameters=4096,
)  # fmt: skip
MIXTRAL = ModelSpec(
    "mixtral-8x7b", "decoder", 32, 4096, 14336, 32, 32000, gated=True, output_vocabulary=True, tied=False, kv_heads=8,
    experts=8, experts_per_token=2, layer_vectors=2 * 4096, other_parameters=4096,
)  # fmt: skip
DEEPSEEK_V3 = ModelSpec(
    "deepseek-v3", "decoder", 61, 7168, 18432, 128, 129280, gated=True, output_vocabulary=True, tied=False,
    head_width=192, value_head_width=128, query_rank=1536, kv_rank=512, rope_width=64, experts=256,
    experts_per_token=8, expert_ff=2048, shared_ff=2048, dense_layers=3,
)  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "total", "active"),
    [(LLAMA, 6.738e9, 6.738e9), (MIXTRAL, 46.7e9, 12.9e9), (DEEPSEEK_V3, 671e9, 37e9)],
)
def test_parameters_match_what_was_published(spec, total, active):
    """Touvron et al. 2023 (arXiv 2307.09288); Jiang et al. 2024 (arXiv 2401.04088); DeepSeek-AI 2024 (arXiv
    2412.19437), whose 37e9 counts one of the two tables."""
    assert total == pytest.approx(spec.parameters, rel=0.002)
    assert active == pytest.approx(spec.active_parameters, rel=0.02)


def test_layers_that_share_weights_cost_flops_but_no_parameters():
    own = ModelSpec("plain", "encoder", 12, 768, 3072, 12, 30000)
    shared = replace(own, distinct_layers=1)

    assert shared.forward_flops(1, 128) == own.forward_flops(1, 128)
    assert own.parameters - shared.parameters == 11 * own.layer_parameters


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_a_window_never_costs_more_and_nothing_changes_within_it(length, window):
    windowed = replace(LLAMA, window=window, windowed_layers=32)

    less, all_of_it = windowed.forward_flops(1, length), LLAMA.forward_flops(1, length)
    assert less <= all_of_it
    assert (less == all_of_it) == (length <= window)


@given(st.integers(1, 7))
def test_a_token_passes_only_the_experts_it_is_routed_to(count):
    fewer, more = (replace(MIXTRAL, experts_per_token=one) for one in (count, count + 1))

    assert fewer.parameters == more.parameters
    assert more.active_parameters - fewer.active_parameters == 32 * 3 * 4096 * 14336
    assert more.forward_flops(1, 1) - fewer.forward_flops(1, 1) == 2 * 32 * 3 * 4096 * 14336


def test_adapters_of_queries_and_values_are_counted():
    """Rank 8 on q and v of Llama 2 7B: 32 layers × 2 matrices × 8 × (4096 + 4096)."""
    assert Method("lora").trainable_parameters(LLAMA) == 4_194_304


@given(st.integers(0, 31))
def test_frozen_layers_learn_nothing(count):
    less, more = (Method(frozen_layers=one).trainable_parameters(LLAMA) for one in (count + 1, count))

    assert less < more <= LLAMA.parameters


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("layers", lambda: replace(LLAMA, layers=0)),
        ("experts_per_token", lambda: replace(MIXTRAL, experts_per_token=9)),
        ("dense_layers", lambda: replace(MIXTRAL, dense_layers=33)),
        ("method", lambda: Method("qlora")),
        ("lora_rank", lambda: Method("lora", 0)),
        ("lora_targets", lambda: Method("lora", lora_targets=("query",))),
        ("frozen_layers", lambda: Method(frozen_layers=33).check(LLAMA)),
    ],
)
def test_impossible_shapes_and_methods_are_refused_by_name(field, make):
    with pytest.raises(SettingError, match=field):
        make()
