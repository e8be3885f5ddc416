"""Levers on a real Trainer: two steps of a tiny model."""

from __future__ import annotations

import copy

import pytest

from lowcarb import levers
from lowcarb.core.levers import LEVERS
from lowcarb.errors import SettingError
from lowcarb.lab.heap import why_not

torch = pytest.importorskip("torch", reason="the hf extra is not installed")
transformers = pytest.importorskip("transformers", reason="the hf extra is not installed")
pytest.importorskip("accelerate", reason="the hf extra is not installed")

ROWS = [
    {"input_ids": torch.arange(8), "start_positions": torch.tensor(1), "end_positions": torch.tensor(2)}
    for _ in range(16)
]


@pytest.fixture
def arguments(tmp_path):
    return transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, use_cpu=True, report_to="none",
        disable_tqdm=True, dataloader_pin_memory=False, save_strategy="no",
    )  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=16,
    )  # fmt: skip
    return transformers.BertForQuestionAnswering(config)


def trained(model, arguments):
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=ROWS)
    trainer.train()
    return trainer


def test_arguments_say_each_lever_and_the_ones_given_stay_as_they_are(arguments):
    pulled = levers.apply(
        arguments,
        ["bf16", "grouped-padding", "fused-optimizer", "checkpointing", "fewer-epochs=1", "batch=4", "accumulation=2",
         "learning-rate=2e-4", "schedule:shape=constant,warmup=0.1"],
    )  # fmt: skip

    switch = "activation_checkpointing" if hasattr(pulled, "activation_checkpointing") else "gradient_checkpointing"
    assert (True, "adamw_torch_fused") == (pulled.bf16, str(pulled.optim.value))
    assert getattr(pulled, switch)
    assert (1.0, 4, 2, 2e-4) == (
        pulled.num_train_epochs, pulled.per_device_train_batch_size, pulled.gradient_accumulation_steps,
        pulled.learning_rate,
    )  # fmt: skip
    assert pulled.lr_scheduler_type == "constant_with_warmup"
    assert getattr(pulled, "train_sampling_strategy", "group_by_length") == "group_by_length"
    assert (False, 2, 1) == (
        arguments.bf16, arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps
    )  # fmt: skip


def test_a_real_training_runs_with_them(arguments, model):
    pulled = levers.apply(arguments, ["bf16", "fused-optimizer", "batch=4", "accumulation=2", "learning-rate=1e-2"])
    frozen = levers.prepare(model, ["freeze-layers=2", "no-dropout"])
    before = [p.detach().clone() for p in frozen.bert.encoder.layer[1].parameters()]
    last = frozen.bert.encoder.layer[2].output.dense.weight.detach().clone()

    trainer = trained(frozen, pulled)

    assert trainer.state.global_step == 2
    assert all(torch.equal(a, b) for a, b in zip(before, frozen.bert.encoder.layer[1].parameters(), strict=True))
    assert not torch.equal(last, frozen.bert.encoder.layer[2].output.dense.weight)
    assert {0.0} == {m.p for m in frozen.modules() if isinstance(m, torch.nn.Dropout)}


EACH = (
    "bf16", "grouped-padding", "fused-optimizer", "checkpointing", "batch=4", "accumulation=2", "learning-rate=1e-2",
    "schedule:shape=constant,warmup=0.5", "workers=1", "fewer-epochs=0.25",
)  # fmt: skip


def test_each_lever_that_arguments_can_say_is_tried():
    # There is no GPU for fp16, and compiling takes a minute: those are tested by what the arguments say.
    assert levers.ARGUMENTS - {"fp16", "compile"} == {text.partition("=")[0].partition(":")[0] for text in EACH}


@pytest.mark.parametrize("lever", EACH)
def test_a_real_training_runs_with_each_lever(arguments, model, lever):
    before = model.qa_outputs.weight.detach().clone()

    trainer = trained(model, levers.apply(arguments, [lever]))

    # A quarter of an epoch is two batches of two of the sixteen rows.
    assert trainer.state.global_step == 2
    assert not torch.equal(before, model.qa_outputs.weight)


def test_levers_are_in_the_training_and_not_in_the_arguments_alone(arguments, model):
    sizes = []

    def look(module, given, named, output):
        sizes.append(named["input_ids"].shape[0])

    model.register_forward_hook(look, with_kwargs=True)
    rate = trained(model, levers.apply(arguments, ["bf16", "batch=4", "accumulation=2", "learning-rate=1e-2",
                                                   "schedule:shape=constant,warmup=0.0"])).optimizer  # fmt: skip

    assert {4} == set(sizes)
    assert len(sizes) == 4
    assert {1e-2} == {group["lr"] for group in rate.param_groups}


@pytest.mark.skipif(why_not() is not None, reason="memory is not managed by glibc's malloc here")
def test_memory_is_kept_around_a_training_of_ones_own(arguments, model):
    plain = trained(copy.deepcopy(model), arguments).model
    with levers.keep_memory():
        kept = trained(model, arguments).model

    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), kept.parameters(), strict=True))


# peft 0.21 asks transformers 5.24 by a name that it has deprecated.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_adapters_and_fewer_layers_train_too(arguments, model):
    adapted = levers.prepare(model, ["fewer-layers=0-2", "lora=2"])
    learning = {name for name, p in adapted.named_parameters() if p.requires_grad}

    trained(adapted, arguments)

    assert adapted.config.num_hidden_layers == 2
    assert all("lora_" in name or "qa_outputs" in name for name in learning)
    assert any("qa_outputs" in name for name in learning)


def test_every_lever_there_is_can_be_said_or_tells_what_to_do():
    for name in LEVERS:
        homes = [name in levers.ARGUMENTS, name in levers.MODEL, name in levers.ELSEWHERE]
        assert 1 == sum(homes), name


@pytest.mark.parametrize(
    ("asked", "said"),
    [("packing", "collator"), ("early-stopping", "EarlyStoppingCallback"), ("freeze-layers=1", "prepare"),
     ("bf17", "bf16")],
)  # fmt: skip
def test_a_lever_that_arguments_cannot_say_is_an_error_with_the_remedy(arguments, asked, said):
    with pytest.raises(SettingError, match=said):
        levers.apply(arguments, [asked])


def test_a_lever_of_the_arguments_is_no_lever_of_the_model(model):
    with pytest.raises(SettingError, match="apply"):
        levers.prepare(model, ["bf16"])
    with pytest.raises(SettingError, match="below 3"):
        levers.prepare(model, ["freeze-layers=3"])


def test_levers_that_conflict_are_refused(arguments):
    with pytest.raises(SettingError, match="conflicts"):
        levers.apply(arguments, ["bf16", "fp16"])
