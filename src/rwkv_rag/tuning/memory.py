"""Memory and time that a fine-tuning needs, estimated before it starts.

    memory = process + weights + 16 * trained + activations + logits
    time   = start + passes + multiplications / speed of a measured product

On a CPU the estimate of memory was 7 to 15 % above the measured peak in the jobs of
`benchmarks/tuning_methods.py` and 3 to 14 % in the steps of `benchmarks/tuning.py`, which print
both; compiling the loops, once on a machine, takes up to 120 MB more. On a GPU the same constants
are assumed. Knows no data.
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
PROCESS_BYTES = 560 << 20  # Python with torch, numba and Lightning
PEFT_BYTES = 50 << 20
PER_TRAINED = 16  # bytes: the number, its gradient and Adam's two moments, in fp32
# Bytes that a layer keeps for the backward pass, a token and channel; more for adapters beside it.
KEPT = {torch.bfloat16: (180.0, 80.0), torch.float32: (240.0, 80.0)}
KEPT_WITH_CHECKPOINTING = 16.0
BYTES = {torch.float32: 4.0, torch.bfloat16: 2.0}
QUANTIZED_BYTES = {"int8": 1.05, "nf4": 0.56}  # with their scales
WIDTH_OF_HALF = 350.0  # channels at which half the time goes into products of matrices
PASS_S, START_S = 0.02, 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """What settings amount to on one model.

    matrices     the type the model's matrices are held in
    tied         whether the output head is the embedding table
    extra_bytes  of tensors in the file beside the model, such as the heads of the builtin one
    tokens       length of a row on average, as far as is known; the longest counts for memory
    scored       share of the tokens whose loss counts
    """

    shape: Shape
    device: torch.device
    matrices: torch.dtype
    tied: bool = False
    tokens: float = 0.0
    scored: float = 1.0
    extra_bytes: int = 0


def matrices_of(settings: TuneSettings, device: torch.device) -> torch.dtype:
    """The type that the base's matrices are held and multiplied in.

    "auto" is bf16 where the device multiplies it natively. A method that trains the matrices
    themselves needs fp32, since their changes are smaller than bf16 can hold; FSDP joins tensors of
    one type only.
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
    limit = _container_bytes(Path("/sys/fs/cgroup"))
    return available if limit is None else min(available, limit)


def _container_bytes(group: Path) -> int | None:
    """What a control group leaves, None without one; file pages that nobody uses count as free."""
    try:
        limit = int((group / "memory.max").read_text())
        held = int((group / "memory.current").read_text())
        lines = (group / "memory.stat").read_text().splitlines()
        unused = int(dict(line.split() for line in lines).get("inactive_file", 0))
    except (OSError, ValueError):
        return None
    return max(0, limit - held + unused)


def estimate(settings: TuneSettings, load: Load, *, speed: float | None = None) -> TuneEstimate:
    """What `settings` need. `speed` is `product_speed`; without it the time is not estimated."""
    needed, available = needed_bytes(settings, load), available_bytes(load.device)
    return TuneEstimate(
        memory_bytes=needed,
        available_bytes=available,
        trainable=trainable(settings, load.shape),
        seconds=None if speed is None else seconds_of(settings, load, speed),
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
    shape, size, adapters = load.shape, BYTES[load.matrices], settings.method in ADAPTERS
    table = shape.vocab * shape.width
    tables = table * (1 if load.tied else 2)
    inner = parameters(shape) - 2 * table
    process = PROCESS_BYTES + (PEFT_BYTES if adapters else 0)
    if settings.method == "full":
        weights = PER_TRAINED * float(inner + tables) + 4.0 * table  # the head's gradient, twice
    else:
        weights = inner * QUANTIZED_BYTES.get(settings.quantization, size) + tables * size
        weights += PER_TRAINED * trainable(settings, shape)
    network, beside = KEPT[load.matrices]
    layer = network + (beside if adapters else 0.0)
    kept = shape.layers * layer
    if settings.checkpointing:
        kept = shape.layers * KEPT_WITH_CHECKPOINTING + layer
    tokens = settings.batch * _row(settings)
    activations = tokens * shape.width * kept
    logits = min(tokens, CHUNK) * shape.vocab * (8.0 + size)
    needed = process + weights + load.extra_bytes + activations + logits
    return int(needed * (settings.devices if load.device.type == "cpu" else 1))


def _row(settings: TuneSettings) -> int:
    """Tokens of a row that are in memory together."""
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

    All else takes as long again at a width of `WIDTH_OF_HALF`, and less of wider models.
    """
    share = load.shape.width / (load.shape.width + WIDTH_OF_HALF)
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
    """Changes that would fit, each by itself; where none does, as many together as it takes."""
    changes = list(_changes(settings, load))
    fitting = [
        text
        for text, change in changes
        if needed_bytes(replace(settings, **change), load) <= available
    ]
    yield from fitting
    texts: list[Message] = []
    for text, change in () if fitting else changes:
        settings = replace(settings, **change)
        texts.append(text)
        if needed_bytes(settings, load) <= available:
            yield joined(", ", texts)
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
