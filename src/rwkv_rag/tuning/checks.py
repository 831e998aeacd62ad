"""What is looked at before a job begins: settings, devices, base, the first rows, memory.

Reads no more than the first lines of the data: all of it is prepared by the job itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.checkpoint import Checkpoint, load_checkpoint
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning import binidx, jsonl
from rwkv_rag.tuning.dataset import Rows, bad_line
from rwkv_rag.tuning.devices import check_devices, device_of
from rwkv_rag.tuning.memory import Load, estimate, matrices_of, product_speed
from rwkv_rag.tuning.methods import method_named, rates_for
from rwkv_rag.tuning.rows import RowEncoder
from rwkv_rag.tuning.settings import BaseFiles, check, check_nodes, with_rates
from rwkv_rag.types import TuneEstimate, TuneSettings

LINES = 200


@dataclass(frozen=True, slots=True)
class Glance:
    """What the first rows are like: tokens a row, the share of them that is scored, and about how
    many rows there are in all.
    """

    tokens: float
    scored: float
    rows: float


def check_and_estimate(
    settings: TuneSettings, base: BaseFiles, *, timed: bool = False
) -> tuple[TuneSettings, TuneEstimate]:
    """Settings with nothing left open, and what they need. Raises InputError and its like.

    `timed` also tells the time, which takes a moment of measuring.
    """
    check(settings)
    check_nodes(settings)
    check_devices(settings)
    settings = replace(settings, data=settings.data.expanduser().absolute())
    checkpoint = load_checkpoint(base.model)
    usual = rates_for(method_named(settings.method), checkpoint.shape.width)
    settings = with_rates(settings, lambda: usual)
    _check_rank(settings, checkpoint)
    rows = checkpoint.shape.vocab
    tokenizer = Tokenizer.for_model(base.vocabulary, model=base.model.name, rows=rows)
    glance = glance_at(settings, tokenizer)
    device = device_of(settings.device)
    if settings.quantization != "none" and device.type != "cuda":
        raise InputError(
            "quantization is {quantization!r}, which needs a GPU; choose none",
            quantization=settings.quantization,
        )
    load = Load(
        shape=checkpoint.shape,
        device=device,
        matrices=matrices_of(settings, device),
        tied=_tied(checkpoint),
        tokens=glance.tokens,
        scored=glance.scored,
        extra_bytes=sum(each.nbytes for each in checkpoint.extras.values()),
    )
    counted = replace(settings, steps=_steps(settings, glance))
    speed = product_speed(load) if timed else None
    return settings, estimate(counted, load, speed=speed)


def _check_rank(settings: TuneSettings, checkpoint: Checkpoint) -> None:
    """Raise InputError for adapters wider than the matrices they stand beside."""
    most = min(checkpoint.shape.width, checkpoint.shape.ffn)
    beside = settings.method in ("lora", "pissa", "miss") and {"att", "ffn"} & {*settings.parts}
    if beside and settings.rank > most:
        raise InputError(
            "rank is {rank}, and the model's smallest matrix allows {most}; give a rank "
            "of at most {most}",
            rank=settings.rank,
            most=most,
        )


def glance_at(settings: TuneSettings, tokenizer: Tokenizer) -> Glance:
    """Look at the first rows of the data. Raises InputError for what cannot be trained on."""
    source = settings.data
    if source.suffix.lower() in (".bin", ".idx"):
        rows = Rows.open(binidx.prefix_of(source), scored=settings.scored)
        if not len(rows):
            raise InputError("{source} holds no row; give a file with at least one", source=source)
        return Glance(len(rows.tokens) / len(rows), rows.scored / len(rows.tokens), len(rows))
    if not jsonl.readable(source):
        raise InputError(
            "{source} is no training data; give a {suffixes} or .bin file",
            source=source,
            suffixes=", ".join(jsonl.SUFFIXES),
        )
    return _first_lines(settings, RowEncoder(tokenizer, scored=settings.scored))


def _first_lines(settings: TuneSettings, encoder: RowEncoder) -> Glance:
    rows = tokens = scored = 0
    last = 0
    for line in islice(jsonl.read(settings.data), LINES):
        last = line.number
        try:
            if line.problem:
                raise InputError(line.problem)
            row = encoder.encode(line.value)
        except InputError as error:
            if settings.skip_bad:
                continue
            raise bad_line(settings.data, line.number, error.message) from error
        rows, tokens, scored = rows + 1, tokens + len(row.ids), scored + int(row.scored.sum())
    if not rows and last < LINES:
        raise InputError("{data} holds no row; give a file with at least one", data=settings.data)
    return Glance(tokens / max(1, rows), scored / max(1, tokens), _rows(settings.data, rows, last))


def _rows(source: Path, rows: int, last: int) -> float:
    """About how many rows the file has, from the size of its first lines."""
    if last < LINES or source.suffix != ".jsonl":
        return float(rows)
    with source.open("rb") as file:
        read = sum(map(len, islice(file, last)))
    return rows * source.stat().st_size / max(1, read)


def _steps(settings: TuneSettings, glance: Glance) -> int:
    if not settings.epochs:
        return settings.steps
    together = settings.batch * settings.accumulate * settings.devices * settings.nodes
    return max(1, round(settings.epochs * glance.rows * (1 - settings.held_out) / together))


def _tied(checkpoint: Checkpoint) -> bool:
    emb, head = (checkpoint.tensors[f"{name}.weight"] for name in ("emb", "head"))
    return emb.data_ptr() == head.data_ptr()
