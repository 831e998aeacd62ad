"""RWKV-7 in plain fp32, one token at a time: the specification that fast paths are tested against.

Written to be read beside the formulas, not to be fast. Knows no batches, files or tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import group_norm, layer_norm, normalize

HEAD_SIZE = 64
DECAY = -0.6065306597126334  # -exp(-0.5): no channel forgets faster than exp(DECAY) a token


@dataclass
class LayerState:
    """What one layer remembers: its last inputs (C,) and the matrix S of each head (H, V, K)."""

    att: Tensor
    ffn: Tensor
    wkv: Tensor


class Reference:
    """An x070 model given by its tensors in the official layout."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.z = {name: tensor.float().squeeze() for name, tensor in tensors.items()}
        self.z["emb.weight"] = tensors["emb.weight"].float()
        for name in tensors:
            if name.endswith("r_k"):  # (H, N), also where H is 1
                self.z[name] = tensors[name].float()
        self.layers = 1 + max(int(n.split(".")[1]) for n in tensors if n.startswith("blocks."))
        self.heads = self.z["blocks.0.att.r_k"].shape[0]
        self.width = self.heads * HEAD_SIZE

    def zero_state(self) -> list[LayerState]:
        c, h, n = self.width, self.heads, HEAD_SIZE
        return [
            LayerState(torch.zeros(c), torch.zeros(c), torch.zeros(h, n, n))
            for _ in range(self.layers)
        ]

    def forward(
        self, tokens: Sequence[int], state: list[LayerState] | None = None
    ) -> tuple[Tensor, Tensor, list[LayerState]]:
        """Logits (T, vocab), hidden states (T, C) after ln_out, and the state, updated in place."""
        state = state or self.zero_state()
        hidden = torch.stack([self.token(token, state) for token in tokens])
        return hidden @ self.z["head.weight"].T, hidden, state

    def token(self, token: int, state: list[LayerState]) -> Tensor:
        """Read one token; its hidden state (C,)."""
        x = self.norm("blocks.0.ln0", self.z["emb.weight"][token])
        v_first = None
        for layer, memory in enumerate(state):
            x, v_first = self.block(f"blocks.{layer}.", x, v_first, memory)
        return self.norm("ln_out", x)

    def block(
        self, prefix: str, x: Tensor, v_first: Tensor | None, memory: LayerState
    ) -> tuple[Tensor, Tensor]:
        h = self.norm(prefix + "ln1", x)
        out, v_first = self.time_mix(prefix + "att.", h, v_first, memory)
        x = x + out
        h = self.norm(prefix + "ln2", x)
        return x + self.channel_mix(prefix + "ffn.", h, memory), v_first

    def time_mix(
        self, prefix: str, h: Tensor, v_first: Tensor | None, memory: LayerState
    ) -> tuple[Tensor, Tensor]:
        p = {name.removeprefix(prefix): t for name, t in self.z.items() if name.startswith(prefix)}
        shifted, memory.att = memory.att - h, h
        r, w, k, v, a, g = (h + shifted * p[f"x_{name}"] for name in "rwkvag")

        decay = torch.exp(DECAY * torch.sigmoid(p["w0"] + torch.tanh(w @ p["w1"]) @ p["w2"]))
        rate = torch.sigmoid(p["a0"] + a @ p["a1"] @ p["a2"])  # in-context learning rate
        gate = torch.sigmoid(g @ p["g1"]) @ p["g2"]
        r, k = p["receptance.weight"] @ r, p["key.weight"] @ k
        value = p["value.weight"] @ v
        if v_first is None:
            v_first = value
        else:
            value = value + (v_first - value) * torch.sigmoid(p["v0"] + v @ p["v1"] @ p["v2"])

        removal = normalize((k * p["k_k"]).view(self.heads, HEAD_SIZE), dim=-1)
        k = k * (1 + (rate - 1) * p["k_a"])
        r, k, v, decay, rate = (t.view(self.heads, HEAD_SIZE) for t in (r, k, value, decay, rate))

        s = memory.wkv  # (H, V, K)
        recalled = torch.einsum("hvk,hk->hv", s, -removal)
        s = s * decay[:, None, :] + outer(recalled, removal * rate) + outer(v, k)
        memory.wkv = s
        y = torch.einsum("hvk,hk->hv", s, r).reshape(1, -1)

        y = group_norm(y, self.heads, p["ln_x.weight"], p["ln_x.bias"], eps=64e-5)[0]
        bonus = (r * k * p["r_k"]).sum(dim=-1, keepdim=True) * v
        return p["output.weight"] @ ((y + bonus.reshape(-1)) * gate), v_first

    def channel_mix(self, prefix: str, h: Tensor, memory: LayerState) -> Tensor:
        shifted, memory.ffn = memory.ffn - h, h
        k = self.z[prefix + "key.weight"] @ (h + shifted * self.z[prefix + "x_k"])
        return self.z[prefix + "value.weight"] @ torch.relu(k) ** 2

    def norm(self, name: str, x: Tensor) -> Tensor:
        return layer_norm(x, (self.width,), self.z[f"{name}.weight"], self.z[f"{name}.bias"])


def outer(column: Tensor, row: Tensor) -> Tensor:
    """The outer product of each head: (H, V), (H, K) -> (H, V, K)."""
    return column[:, :, None] * row[:, None, :]
