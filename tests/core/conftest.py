"""What several tests of the core build with PyTorch."""

from __future__ import annotations

import pytest

ATTENTION = ("query", "value", "q_proj", "v_proj", "q", "v")
"""What families call the matrices that adapters usually go on."""


@pytest.fixture
def add_adapters():
    """Freeze a model and put low-rank adapters on its queries and values."""
    nn = pytest.importorskip("torch.nn", reason="the lab extra is not installed")

    class Adapted(nn.Module):
        def __init__(self, base, rank):
            super().__init__()
            self.base = base
            self.down = nn.Linear(base.in_features, rank, bias=False)
            self.up = nn.Linear(rank, base.out_features, bias=False)

        @property
        def weight(self):
            return self.base.weight

        def forward(self, hidden):
            return self.base(hidden) + self.up(self.down(hidden))

    def add(model, rank):
        model.requires_grad_(requires_grad=False)
        for name, module in list(model.named_modules()):
            parent, _, last = name.rpartition(".")
            if last in ATTENTION and isinstance(module, nn.Linear):
                setattr(model.get_submodule(parent), last, Adapted(module, rank))

    return add
