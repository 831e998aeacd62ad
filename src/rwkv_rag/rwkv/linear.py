"""Matrices stacked so that one pass over memory does several products. Knows no model.

A stack multiplies few vectors with a loop bound by memory, and many with torch's matrix products.
An adapted stack adds low-rank products to those of a stack that it leaves as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn.functional import linear

from rwkv_rag.rwkv.kernels import wkv as loops
from rwkv_rag.rwkv.kernels.threads import spread

# With this many vectors or more, torch's product is faster than one dot product after another.
MANY = 5

# What is added to a matrix (out, in): a (r, in) and b (out, r), for W + b a.
Pair = tuple[torch.Tensor, torch.Tensor]


def as_array(tensor: torch.Tensor) -> loops.Array:
    """The same memory as kernels see it: bfloat16 as uint16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    array: loops.Array = tensor.numpy()
    return array


class Stack:
    """Matrices (out_i, in), each with the number of the input that it multiplies.

    Called with inputs x (n, T, in), gives a list of (T, out_i), of the type of the weights.
    """

    def __init__(self, weights: Sequence[torch.Tensor], inputs: Sequence[int], dtype: torch.dtype):
        self.weight = torch.cat([weight.to(dtype) for weight in weights]).contiguous()
        self.sizes = [weight.shape[0] for weight in weights]
        self.inputs = list(inputs)
        self._array = as_array(self.weight)
        self._source = np.repeat(np.array(self.inputs, np.int64), self.sizes)

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        if x.shape[1] >= MANY:
            parts = torch.split_with_sizes(self.weight, self.sizes)
            return [linear(x[i], part) for i, part in zip(self.inputs, parts, strict=True)]
        parts = torch.split_with_sizes(self.few(x, self.weight.dtype), self.sizes, dim=1)
        return [part.contiguous() for part in parts]

    def few(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """All products side by side (T, sum of out_i), in `dtype`, for few vectors."""
        count, few, width = x.shape
        out = torch.empty(few, self.weight.shape[0], dtype=dtype)
        flat = as_array(x.reshape(count * few, width))
        spread(few * self.weight.numel())
        loops.products(self._array, flat, self._source * few, as_array(out))
        return out

    def adapted(self, pairs: Sequence[Pair | None]) -> Stack | Adapted:
        """This stack with a pair added to each matrix that has one; itself where none has."""
        found = {number: pair for number, pair in enumerate(pairs) if pair is not None}
        return Adapted(self, found) if found else self


class Adapted:
    """A stack of which some matrices are W + b a. The W are the stack's own memory."""

    def __init__(self, stack: Stack, pairs: Mapping[int, Pair]) -> None:
        """`pairs` by the number of the matrix in the stack."""
        self._stack = stack
        dtype = stack.weight.dtype
        inputs = [stack.inputs[number] for number in pairs]
        self._downs = Stack([a for a, _ in pairs.values()], inputs, dtype)
        self._ups = [(number, b.to(dtype).T.contiguous()) for number, (_, b) in pairs.items()]

    @property
    def weight(self) -> torch.Tensor:
        """The matrices without what is added."""
        return self._stack.weight

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        parts = self._stack(x)
        for (number, up), low in zip(self._ups, self._downs(x), strict=True):
            parts[number].addmm_(low, up)
        return parts
