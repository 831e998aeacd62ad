"""What a fine-tuning needs: memory from the sizes of model and batch, time from a measured product.

    weights      as they are held, shared with the file where the types agree
    training     16 bytes a trained number: itself, its gradient and Adam's two moments
    activations  what the layers keep for the backward pass, a token and channel
    logits       of one chunk of scored positions, whatever the batch (see `cross_entropy`)

The constants were measured on a CPU; on a GPU they are those of the same code without its compiled
loops, and not measured. Knows no data and starts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rwkv_rag.errors import InputError, Message, joined, message
from rwkv_rag.rwkv.layout import HEAD_SIZE, Shape
from rwkv_rag.tuning.cross_entropy import CHUNK
from rwkv_rag.types import TuneEstimate, TuneSettings

ADAPTERS = ("lora", "pissa", "miss")
PROCESS_BYTES = {"cpu": 520 << 20, "cuda": 600 << 20}  # Python and its libraries, or CUDA's own
PEFT_BYTES = 90 << 20  # the libraries that adapters bring along
PER_TRAINED = 16
# Bytes a token, layer and channel: of the network, and more beside it for adapters.
PER_CHANNEL = {("cpu", torch.bfloat16): (75.0, 17.0), ("cpu", torch.float32): (320.0, 60.0)}
UNFUSED = (225.0, 55.0)  # in bf16 where no compiled loops run
KEPT_PER_CHANNEL = 16.0  # where blocks are computed again: stream and layer-0 values
WIDTH_OF_HALF = 350.0  # channels at which half the time goes into products of matrices
PASS_S, START_S = 0.02, 10.0
BYTES = {torch.float32: 4.0, torch.bfloat16: 2.0}
QUANTIZED_BYTES = {"int8": 1.05, "nf4": 0.56}  # with the scales
SPARE = 1.1


@dataclass(frozen=True, slots=True)
class Load:
    """What settings amount to on one model: the shape, how it is held, and the rows' length.

    `tokens` is how long a row is on average, as far as is known; the longest counts for memory.
    """

    shape: Shape
    device: torch.device
    matrices: torch.dtype
    tied: bool = False
    tokens: float = 0.0
    scored: float = 1.0


def matrices_of(settings: TuneSettings, device: torch.device) -> torch.dtype:
    """The type that the matrices of the base are held and multiplied in.

    "auto" is bf16 where the device multiplies it natively: half the memory, and the file's own
    pages on a CPU. A method that trains the matrices themselves needs fp32: their changes are
    smaller than bf16 can hold. FSDP joins tensors of one type only.
    """
    if settings.method == "full" or settings.strategy == "fsdp" or settings.precision == "fp32":
        return torch.float32
    if settings.precision == "bf16" or device.type == "cuda":
        return torch.bfloat16
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    native = known.get("avx512_bf16") or known.get("amx_bf16") or known.get("bf16")
    return torch.bfloat16 if native else torch.float32


def used_bytes(device: torch.device) -> int:
    """What this process holds now, or the most it held on a GPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import psutil

    return int(psutil.Process().memory_info().rss)


def available_bytes(device: torch.device) -> int:
    """What could be had without swapping; a container's limit counts where there is one."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    available = int(psutil.virtual_memory().available)
    limits = [_limit(Path("/sys/fs/cgroup"))]
    return min([available, *(limit for limit in limits if limit is not None)])


def _limit(group: Path) -> int | None:
    """What a control group leaves, None without one. Pages of files that nobody uses are given up
    when memory is short, so they count as free.
    """
    try:
        most = int((group / "memory.max").read_text())
        held = int((group / "memory.current").read_text())
        told = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, most - held + int(told.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


def estimate(settings: TuneSettings, load: Load, *, speed: float | None = None) -> TuneEstimate:
    """What `settings` need. `speed` is `product_speed`; without it the time is not told."""
    needed, available = needed_bytes(settings, load), available_bytes(load.device)
    seconds = None if speed is None else seconds_of(settings, load, speed)
    return TuneEstimate(
        memory_bytes=needed,
        available_bytes=available,
        trainable=trainable(settings, load.shape),
        seconds=seconds,
        cheaper=tuple(_cheaper(settings, load, available)) if needed > available else (),
    )


def require(estimate: TuneEstimate) -> None:
    """Raise InputError where it does not fit, naming what would."""
    if estimate.fits:
        return
    need, free = (f"{n / 1e9:.1f} GB" for n in (estimate.memory_bytes, estimate.available_bytes))
    if not estimate.cheaper:
        raise InputError(
            "this fine-tuning needs {need} of memory and {free} are free; close other "
            "programs or take a smaller base",
            need=need,
            free=free,
        )
    raise InputError(
        "this fine-tuning needs {need} of memory and {free} are free; what would fit: {ways}",
        need=need,
        free=free,
        ways=joined(" | ", estimate.cheaper),
    )


def needed_bytes(settings: TuneSettings, load: Load) -> int:
    """The most the job holds at once: on each GPU, or in all processes of a CPU together."""
    own = PROCESS_BYTES[load.device.type] + (PEFT_BYTES if settings.method in ADAPTERS else 0)
    one = own + SPARE * (_weights(settings, load) + _working(settings, load))
    return int(one * (settings.devices if _is_cpu(load) else 1))


def _weights(settings: TuneSettings, load: Load) -> float:
    held = load.matrices
    numbers = parameters(load.shape) - (load.shape.vocab * load.shape.width if load.tied else 0)
    if settings.method == "full":
        return PER_TRAINED * numbers
    inner = numbers - _head_numbers(load)
    size = QUANTIZED_BYTES.get(settings.quantization, BYTES[held])
    return (
        inner * size
        + _head_numbers(load) * BYTES[held]
        + PER_TRAINED * trainable(settings, load.shape)
    )


def _head_numbers(load: Load) -> int:
    return load.shape.vocab * load.shape.width * (1 if load.tied else 2)


def _working(settings: TuneSettings, load: Load) -> float:
    """Activations and logits of one forward and backward pass."""
    shape = load.shape
    tokens = settings.batch * _row(settings)
    network, adapters = PER_CHANNEL.get(
        (load.device.type, load.matrices), PER_CHANNEL["cpu", torch.float32]
    )
    if load.device.type != "cpu" and load.matrices == torch.bfloat16:
        network, adapters = UNFUSED
    one = network + (adapters if settings.method in ADAPTERS else 0.0)
    layers = shape.layers * KEPT_PER_CHANNEL + one if settings.checkpointing else shape.layers * one
    # Logits and, in fp32, the product that makes them; then the head's own gradient, if it trains.
    logits = min(tokens, CHUNK) * shape.vocab * (2.0 if load.matrices == torch.bfloat16 else 8.0)
    if not _is_cpu(load):
        logits += min(tokens, CHUNK) * shape.vocab * 8.0
    head = shape.vocab * shape.width * 4.0 if settings.method == "full" else 0.0
    return tokens * shape.width * layers + logits + head


def _is_cpu(load: Load) -> bool:
    return load.device.type == "cpu"


def _row(settings: TuneSettings) -> int:
    return settings.chunk or settings.context


def parameters(shape: Shape) -> int:
    """Numbers in a model of this shape, embedding and head counted apart."""
    c, ranks = shape.width, shape.rank_w + shape.rank_a + shape.rank_v + shape.rank_g
    layer = 4 * c * c + 2 * c * shape.ffn + 2 * c * ranks + 20 * c
    return shape.layers * layer + 2 * shape.vocab * c


def trainable(settings: TuneSettings, shape: Shape) -> int:
    """How many numbers the method trains."""
    c, rank = shape.width, settings.rank
    if settings.method == "full":
        return parameters(shape)
    if settings.method == "state":
        return shape.layers * shape.heads * HEAD_SIZE**2
    pairs = {"att": [(c, c)] * 4, "ffn": [(c, shape.ffn), (shape.ffn, c)]}
    reached = [sizes for part in settings.parts for sizes in pairs.get(part, [])]
    each = sum(out if settings.method == "miss" else out + inside for inside, out in reached)
    ranks = shape.rank_w + shape.rank_a + shape.rank_v + shape.rank_g
    small = 2 * c * ranks if "low_rank" in settings.parts else 0
    return shape.layers * (rank * each + small)


def work(settings: TuneSettings, load: Load) -> float:
    """Multiplications and additions of the whole training, as products of matrices."""
    tokens = min(load.tokens or _row(settings), settings.context if not settings.chunk else 1e9)
    rows = settings.steps * settings.batch * settings.accumulate
    inner = parameters(load.shape) - 2 * load.shape.vocab * load.shape.width
    head = load.shape.vocab * load.shape.width * load.scored
    passes = 6.0 if settings.method == "full" else 4.0
    if settings.checkpointing:
        passes += 2.0
    return rows * tokens * (passes * inner + 6.0 * head)


def seconds_of(settings: TuneSettings, load: Load, speed: float) -> float:
    """How long the training takes where products of matrices reach `speed` operations a second.

    The recurrence and what is computed number by number take as much again at a width of
    `WIDTH_OF_HALF`, and less of wider models: within a third of what was measured.
    """
    width = load.shape.width
    share = width / (width + WIDTH_OF_HALF)
    passes = settings.steps * settings.accumulate
    return START_S + PASS_S * passes + work(settings, load) / (share * speed)


def product_speed(load: Load) -> float:
    """Operations a second of this machine on a product as the model makes them; takes 0.1 s."""
    x = torch.ones(512, load.shape.width, dtype=load.matrices, device=load.device)
    w = torch.ones(load.shape.width, load.shape.ffn, dtype=load.matrices, device=load.device)
    best = 1e9
    for _ in range(5):
        began = time.perf_counter()
        (x @ w).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2 * 512 * load.shape.width * load.shape.ffn / best


def _cheaper(settings: TuneSettings, load: Load, available: int) -> Iterator[Message]:
    """Changes that would fit, each by itself; all together where none does."""
    changes = list(_changes(settings, load))
    found = False
    for said, change in changes:
        if needed_bytes(replace(settings, **change), load) <= available:
            found = True
            yield said
    together = settings
    names: list[Message] = []
    for said, change in () if found else changes:
        together = replace(together, **change)
        names.append(said)
        if needed_bytes(together, load) <= available:
            yield joined(", ", names)
            return


def _changes(settings: TuneSettings, load: Load) -> Iterator[tuple[Message, dict[str, Any]]]:
    """What costs less, from what changes the result least to what changes it most."""
    if settings.batch > 1:
        more = settings.batch * settings.accumulate
        yield message("batch 1, accumulate {more}", more=more), {"batch": 1, "accumulate": more}
    if not settings.checkpointing:
        yield message("checkpointing"), {"checkpointing": True}
    if not settings.chunk and settings.context > 256:
        yield message("context 256"), {"context": 256}
    if settings.method == "full":
        yield message("method lora"), {"method": "lora"}
    if settings.method != "state":
        yield message("method state"), {"method": "state", "quantization": "none"}
    if load.device.type == "cuda" and settings.quantization == "none" and settings.method != "full":
        yield message("quantization nf4"), {"quantization": "nf4"}
