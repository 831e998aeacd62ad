"""The sizes of the released RWKV-7 G1 models and the memory each needs. Knows no machine."""

from __future__ import annotations

from dataclasses import dataclass

BYTES = {"bf16": 2, "fp32": 4}
WORKING = 1.1  # states of the answers being written and what a step computes, beside the weights


@dataclass(frozen=True, slots=True)
class Size:
    """A released model by its name, with the numbers it holds."""

    name: str
    parameters: int

    def needed_bytes(self, precision: str) -> int:
        """What it takes to run it in "bf16" or "fp32"."""
        return int(self.parameters * BYTES[precision] * WORKING)


RELEASED = (
    Size("0.1B", 191_034_624),
    Size("0.4B", 450_767_872),
    Size("1.5B", 1_527_404_544),
    Size("2.9B", 2_947_735_040),
    Size("7.2B", 7_199_141_888),
    Size("13.3B", 13_269_245_952),
)


def largest(free_bytes: int, precision: str) -> str:
    """The largest that fits into so much memory; a dash where none does."""
    fitting = [size.name for size in RELEASED if size.needed_bytes(precision) <= free_bytes]
    return fitting[-1] if fitting else "–"
