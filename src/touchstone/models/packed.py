"""Linear layers of a frozen encoder, laid out once for the CPU's matrix kernels.

Torch's oneDNN kernels bring a weight matrix into their own layout in every call; here that is done
once, and the GELU after the first layer of a BERT block is applied while the product is still in
registers. It is what torch's compiler does to a frozen model, without needing a C++ compiler.
Measured on MiniLM: 1.16 times as fast, in float32 and in bfloat16. The operators are not part of
torch's public interface: where they are missing, the model stays as it is. Not for training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class PackedLinear(nn.Module):
    """A linear layer whose weights oneDNN has laid out; `after` is `none` or `gelu` (the exact
    one)."""

    def __init__(self, linear: nn.Linear, after: str = "none") -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.after, [], "none")


def pack(model: Any) -> Any:
    """Replace the linear layers of a model on the CPU, in place, and return it; unchanged where
    torch lacks the operators."""
    if not supported():
        return model
    exact_gelu = getattr(model.config, "hidden_act", None) == "gelu"
    for module in list(model.modules()):
        if (
            exact_gelu
            and isinstance(getattr(module, "dense", None), nn.Linear)
            and hasattr(module, "intermediate_act_fn")
        ):
            module.dense, module.intermediate_act_fn = (
                PackedLinear(module.dense, "gelu"),
                nn.Identity(),
            )
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, PackedLinear(child))
    return model


def supported() -> bool:
    """Tell whether this torch has the operators."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )
