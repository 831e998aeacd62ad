"""The recurrent state of a model: created, copied, stacked into batches. Knows no weights.

Per layer and sequence an RWKV-7 keeps its last two inputs and one matrix a head, in [V, K] layout:
row = value channel, column = key channel, as in the community's `time_state` files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from rwkv_rag.errors import InputError, ModelMismatch
from rwkv_rag.rwkv.layout import HEAD_SIZE, Shape

_FIELDS = ("wkv", "att_shift", "ffn_shift")


@dataclass(frozen=True, slots=True)
class State:
    """States of a batch of B sequences, all fp32."""

    wkv: torch.Tensor  # (L, B, H, V, K)
    att_shift: torch.Tensor  # (L, B, C)
    ffn_shift: torch.Tensor  # (L, B, C)

    @classmethod
    def zeros(cls, shape: Shape, batch: int = 1) -> State:
        """The state of `batch` sequences that have read nothing."""
        layers, heads = shape.layers, shape.heads
        return cls(
            torch.zeros(layers, batch, heads, HEAD_SIZE, HEAD_SIZE),
            torch.zeros(layers, batch, shape.width),
            torch.zeros(layers, batch, shape.width),
        )

    @classmethod
    def stack(cls, states: Sequence[State]) -> State:
        """One batch of all the sequences of `states`, in order."""
        if not states:
            raise InputError("no states to stack")
        if len({(state.wkv.shape[0], state.wkv.shape[2]) for state in states}) > 1:
            raise ModelMismatch("states of different models cannot run in one batch")
        return cls(*(torch.cat([getattr(s, name) for s in states], dim=1) for name in _FIELDS))

    @property
    def batch(self) -> int:
        return self.wkv.shape[1]

    def clone(self) -> State:
        return State(*(getattr(self, name).clone() for name in _FIELDS))

    def select(self, indices: Sequence[int]) -> State:
        """A copy of some sequences, in the order given; one may be named more than once."""
        if not all(0 <= index < self.batch for index in indices):
            raise InputError(
                "no sequences {indices} in a batch of {batch}",
                indices=list(indices),
                batch=self.batch,
            )
        chosen = torch.tensor(list(indices), dtype=torch.long)
        return State(*(getattr(self, name)[:, chosen] for name in _FIELDS))

    def first(self, count: int) -> State:
        """The first `count` sequences: the same memory, not a copy."""
        return State(*(getattr(self, name)[:, :count] for name in _FIELDS))

    def put(self, index: int, state: State, source: int = 0) -> None:
        """Overwrite one sequence with sequence `source` of `state`."""
        for name in _FIELDS:
            getattr(self, name)[:, index] = getattr(state, name)[:, source]

    def check(self, shape: Shape, batch: int) -> None:
        """Raise unless this is a state of `batch` sequences for a model of `shape`."""
        found = (self.wkv.shape[0], self.wkv.shape[2] * HEAD_SIZE)
        if found != (shape.layers, shape.width):
            raise ModelMismatch(
                "the state is of a model of {found} layers and width {found2}, not of "
                "{layers} layers and width {width}",
                found=found[0],
                found2=found[1],
                layers=shape.layers,
                width=shape.width,
            )
        if self.batch != batch:
            raise InputError(
                "{batch} sequences were given a state of {batch2}", batch=batch, batch2=self.batch
            )

    @classmethod
    def from_time_state(cls, tensors: Mapping[str, torch.Tensor], shape: Shape) -> State:
        """The state that a tuned-state file starts from. ModelMismatch when of another model."""
        tuned = {name: t for name, t in tensors.items() if name.endswith(".att.time_state")}
        state = cls.zeros(shape)
        if len(tuned) != shape.layers:
            raise ModelMismatch(
                "the tuned state has {tuned} layers, the model {layers}; use it with the "
                "model it was tuned on",
                tuned=len(tuned),
                layers=shape.layers,
            )
        for layer in range(shape.layers):
            tensor = tuned.get(_time_state_name(layer))
            wanted = tuple(state.wkv.shape[2:])
            if tensor is None or tuple(tensor.shape) != wanted:
                found = "nothing" if tensor is None else tuple(tensor.shape)
                raise ModelMismatch(
                    "{layer} is {found}, the model needs {wanted}; use it with the model it was "
                    "tuned on",
                    layer=_time_state_name(layer),
                    found=found,
                    wanted=wanted,
                )
            state.wkv[layer, 0] = tensor  # the file is [V, K] too: no transposition
        return state

    @classmethod
    def of_checkpoint(cls, extras: Mapping[str, torch.Tensor], shape: Shape) -> State | None:
        """The tuned state that was merged into a model, by what its file holds beside it."""
        merged = any(name.endswith(".att.time_state") for name in extras)
        return cls.from_time_state(extras, shape) if merged else None

    def to_time_state(self) -> dict[str, torch.Tensor]:
        """The matrices of a batch of one under the community's names; the shifts are left out."""
        if self.batch != 1:
            raise InputError("a tuned state is of one sequence, not of {batch}", batch=self.batch)
        return {_time_state_name(layer): wkv[0].clone() for layer, wkv in enumerate(self.wkv)}


def _time_state_name(layer: int) -> str:
    return f"blocks.{layer}.att.time_state"
