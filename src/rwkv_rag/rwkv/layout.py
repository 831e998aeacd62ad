"""Names and shapes of the tensors of an RWKV-7 (x070) checkpoint; recognises other versions.

Works on names and shapes alone; knows neither files nor mathematics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from rwkv_rag.errors import Message, UnsupportedModel

HEAD_SIZE = 64

_LAYER = re.compile(r"blocks\.(\d+)\.")
_TIME_STATE = re.compile(r"blocks\.\d+\.att\.time_state$")
# Some published files carry value-residual weights in layer 0, where nothing reads them.
_UNREAD = re.compile(r"blocks\.0\.att\.v[012]$")

# The first marker found among the names decides; the order goes from special to general.
_MARKERS = (
    (".qkv.", "rwkv-7b", "RWKV-7b (deep-embedding attention)"),
    (".ffn.s_emb", "rwkv-7a", "RWKV-7a (deep embeddings)"),
    (".att.r_k", "x070", "RWKV-7"),
    (".att.time_maa_", "x060", "RWKV-6"),
    (".att.ln_x.", "x050", "RWKV-5"),
    (".att.time_first", "x040", "RWKV-4"),
)
_FOREIGN = (
    (re.compile(r"(rwkv|reranker)\."), "EmbeddingRWKV weights; support for them comes later"),
    (_TIME_STATE, "a tuned state; give the model"),
    (re.compile(r".*(lora_|disha)"), "an adapter; give the merged model"),
    (
        re.compile(r"model\.(layers|embeddings)\."),
        "a model in Hugging Face layout; give an RWKV-7 file in the official layout (.pth)",
    ),
)
_WANTED = Message("give an RWKV-7 (x070) model as .pth or .safetensors")


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an x070 model, as read from its tensors."""

    layers: int
    width: int
    heads: int
    vocab: int
    ffn: int
    rank_w: int
    rank_a: int
    rank_v: int
    rank_g: int


def check_version(names: Iterable[str]) -> None:
    """Raise UnsupportedModel unless the tensor names are those of RWKV-7 (x070)."""
    names = list(names)
    for part, version, title in _MARKERS:
        if any(part in name and _LAYER.match(name) for name in names):
            _refuse_others(version, title)
            return
    for pattern, found in _FOREIGN:
        if any(pattern.match(name) for name in names):
            raise UnsupportedModel("this file holds {found}", found=found)
    sample = ", ".join(sorted(names)[:3]) or "nothing"
    raise UnsupportedModel(
        "no RWKV model: {names} tensors ({sample}, …); {wanted}",
        names=len(names),
        sample=sample,
        wanted=_WANTED,
    )


def _refuse_others(version: str, title: str) -> None:
    if version == "x060":
        raise UnsupportedModel(
            "this is an {title} (x060) model; support for it comes later", title=title
        )
    if version != "x070":
        raise UnsupportedModel(
            "this is an {title} model, which cannot be run; {wanted}", title=title, wanted=_WANTED
        )


def shape_of(tensors: Mapping[str, torch.Tensor]) -> Shape:
    """Read the sizes from the tensors. UnsupportedModel where one that tells them is missing."""
    layers = 1 + max(int(match[1]) for name in tensors if (match := _LAYER.match(name)))
    vocab, width = _sizes(tensors, "emb.weight")
    heads, head_size = _sizes(tensors, "blocks.0.att.r_k")
    if head_size != HEAD_SIZE:
        raise UnsupportedModel(
            "heads of {head_size} channels; only {head_size2} can be run",
            head_size=head_size,
            head_size2=HEAD_SIZE,
        )
    return Shape(
        layers=layers,
        width=width,
        heads=heads,
        vocab=vocab,
        ffn=_sizes(tensors, "blocks.0.ffn.key.weight")[0],
        rank_w=_sizes(tensors, "blocks.0.att.w1")[1],
        rank_a=_sizes(tensors, "blocks.0.att.a1")[1],
        rank_v=_sizes(tensors, "blocks.1.att.v1")[1] if layers > 1 else 0,
        rank_g=_sizes(tensors, "blocks.0.att.g1")[1],
    )


def _sizes(tensors: Mapping[str, torch.Tensor], name: str) -> tuple[int, int]:
    if name not in tensors:
        raise _missing(name)
    sizes = tensors[name].shape
    if len(sizes) != 2:
        raise UnsupportedModel(
            "tensor {name} has shape {sizes}, expected a matrix", name=name, sizes=tuple(sizes)
        )
    return int(sizes[0]), int(sizes[1])


def expected(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a model; vectors as (n,), however many ones a file adds."""
    vocab, width = shape.vocab, shape.width
    names: dict[str, tuple[int, ...]] = {"emb.weight": (vocab, width)}
    names["head.weight"] = (vocab, width)
    names |= _norm("blocks.0.ln0", width) | _norm("ln_out", width)
    for layer in range(shape.layers):
        block = block_tensors(shape, first=layer == 0)
        names |= {f"blocks.{layer}.{name}": sizes for name, sizes in block.items()}
    return names


def block_tensors(shape: Shape, *, first: bool) -> dict[str, tuple[int, ...]]:
    """Name and shape of one block's tensors, without ln0; the first block lacks v0..v2."""
    width, ffn = shape.width, shape.ffn
    names = _norm("ln1", width) | _norm("ln2", width) | _norm("att.ln_x", width)
    names |= {f"att.x_{name}": (width,) for name in "rwkvag"}
    names |= {f"att.{name}": (width,) for name in ("w0", "a0", "k_k", "k_a")}
    ranks = {"w": shape.rank_w, "a": shape.rank_a, "g": shape.rank_g}
    if not first:
        names["att.v0"] = (width,)
        ranks["v"] = shape.rank_v
    for name, rank in ranks.items():
        names |= {f"att.{name}1": (width, rank), f"att.{name}2": (rank, width)}
    names["att.r_k"] = (shape.heads, HEAD_SIZE)
    for name in ("receptance", "key", "value", "output"):
        names[f"att.{name}.weight"] = (width, width)
    names |= {"ffn.x_k": (width,), "ffn.key.weight": (ffn, width), "ffn.value.weight": (width, ffn)}
    return names


def _missing(name: str) -> UnsupportedModel:
    return UnsupportedModel(
        "tensor {name} is missing: the file is incomplete; download it again", name=name
    )


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def check(tensors: Mapping[str, torch.Tensor], shape: Shape) -> None:
    """Refuse a model with a tensor missing, of another shape, or that nothing here would read."""
    wanted = expected(shape)
    for name, sizes in wanted.items():
        if name not in tensors:
            raise _missing(name)
        found = tuple(tensors[name].shape)
        if found != sizes and not (len(sizes) == 1 and tensors[name].numel() == sizes[0]):
            raise UnsupportedModel(
                "tensor {name} has shape {found}, expected {sizes}",
                name=name,
                found=found,
                sizes=sizes,
            )
        if not tensors[name].is_floating_point():
            raise UnsupportedModel(
                "tensor {name} holds {dtype}, expected floats", name=name, dtype=tensors[name].dtype
            )
    unknown = [name for name in tensors if name not in wanted and not is_extra(name)]
    if unknown:
        raise UnsupportedModel(
            "{count} unknown tensors ({names}, …): this is not a plain RWKV-7 model",
            count=len(unknown),
            names=", ".join(unknown[:3]),
        )


def is_extra(name: str) -> bool:
    """Whether a name outside the model proper is one that roles and tuning may add."""
    return bool(name.startswith("heads.") or _TIME_STATE.match(name) or _UNREAD.match(name))
