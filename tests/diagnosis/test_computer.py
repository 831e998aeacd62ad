"""The sizes of released models agree with what fine-tuning counts from their shapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.diagnosis.computer import BYTES, RELEASED, largest, needed_bytes
from rwkv_rag.rwkv.layout import Shape
from rwkv_rag.tuning.memory import parameters

SHAPES = {
    "0.1B": (12, 768, 64, 64, 32, 128),
    "0.4B": (24, 1024, 64, 64, 32, 128),
    "1.5B": (24, 2048, 96, 96, 64, 256),
    "2.9B": (32, 2560, 96, 96, 64, 320),
    "7.2B": (32, 4096, 128, 128, 96, 480),
}


def test_a_size_is_what_its_shape_amounts_to() -> None:
    for name, (layers, width, w, a, v, g) in SHAPES.items():
        shape = Shape(
            layers=layers, width=width, heads=width // 64, vocab=65536, ffn=4 * width,
            rank_w=w, rank_a=a, rank_v=v, rank_g=g,
        )  # fmt: skip
        assert parameters(shape) == pytest.approx(RELEASED[name], rel=1e-3), name


@given(st.integers(0, 10**12), st.sampled_from([*BYTES]))
def test_the_largest_that_fits_does_and_the_next_does_not(free: int, precision: str) -> None:
    needed = [needed_bytes(parameters, precision) for parameters in RELEASED.values()]
    place = ["–", *RELEASED].index(largest(free, precision))
    assert all(size <= free for size in needed[:place])
    assert all(size > free for size in needed[place:])
