"""A LoRA layer's product in place equals peft's own, forwards and backwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from rwkv_rag.tuning.adapted import project


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key = nn.Linear(64, 96, bias=False).bfloat16().requires_grad_(False)


def adapted(**options: Any) -> Any:
    torch.manual_seed(4)
    model = Model()
    config = LoraConfig(r=8, lora_alpha=24, target_modules=["key"], **options)
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape) * 0.2
    return model.key


def gradients(layer: Any, out: Tensor, x: Tensor) -> list[Tensor]:
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    pair = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
    return [out, *torch.autograd.grad((out.float() * weight).sum(), (x, *pair))]


def test_product_and_gradients_equal_those_of_peft() -> None:
    layer = adapted()
    x = torch.randn(2, 30, 64).bfloat16().requires_grad_()
    for got, wanted in zip(
        gradients(layer, project(layer, x), x), gradients(layer, layer(x), x), strict=True
    ):
        assert got.dtype == wanted.dtype
        assert (got - wanted).float().norm() < 1e-2 * wanted.float().norm()


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_dropout": 0.5}, {}])
def test_layers_that_do_more_are_called_as_they_are(options: dict[str, Any]) -> None:
    layer = adapted(**options)
    if not options:
        layer.merge()
    layer.eval()
    x = torch.randn(2, 30, 64).bfloat16()
    assert torch.equal(project(layer, x), layer(x))


def test_disabled_adapters_stay_out() -> None:
    layer = adapted()
    layer.enable_adapters(False)
    x = torch.randn(2, 30, 64).bfloat16()
    assert torch.equal(project(layer, x), layer.base_layer(x))


def test_plain_layers_are_called_as_they_are() -> None:
    layer = nn.Linear(64, 32).bfloat16()
    x = torch.randn(3, 64).bfloat16()
    assert torch.equal(project(layer, x), layer(x))
