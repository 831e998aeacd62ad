"""Files of other programs read as our own: tuned states, and adapters in the names of their makers.

    time_state       `blocks.{i}.att.time_state`, any float type
    slim LoRA        RWKV-PEFT until 2025: `….lora_A`, `….lora_B`; the alpha is not in the file
    PiSSA            the same, with the first pairs (`….init_lora_A/B`) in a file beside it
    DiSHA, MiSS      `….disha`: a block (r, out), or (in/r, r, r) of the multiplying mode "bat"
    peft             a folder of adapter_config.json and adapter_model.safetensors, LoRA or MiSS
    our own          what `exports` writes as .safetensors

Names and formulas after RWKV-PEFT's and peft's source. Does not know where results are stored;
pickles are only opened with `weights_only=True`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from rwkv_rag.errors import InputError, ModelMismatch, NotFound, UnsupportedModel
from rwkv_rag.i18n import N_
from rwkv_rag.rwkv import layout
from rwkv_rag.rwkv.adapter import Adapter, is_matrix
from rwkv_rag.rwkv.checkpoint import Checkpoint, read_tensors
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tuned import Kind

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG_BYTES = 1 << 20
_PREFIX = re.compile(r"^(?:base_model\.model\.|module\.|model\.)+")
_STATE = re.compile(r"blocks\.\d+\.att\.time_state")
_OURS = re.compile(r".+\.weight\.(lora_[AB]|miss|delta)|.+\.delta")
_PAIR = re.compile(r"(.+)\.lora_([AB])(?:\.weight)?")
_FIRST = re.compile(r"(.+)\.(?:init_)?lora_([AB])(?:\.weight)?")
_BLOCK = re.compile(r"(.+)\.(?:disha|miss_block)")


@dataclass(frozen=True, slots=True)
class Found:
    """What a file turned out to be; `tensors` are in the names and types of our own files.

    `what` says it for people; `rank` is the largest, `alpha` what the file's scale came from.
    """

    what: str
    kind: Kind
    tensors: Mapping[str, Tensor]
    rank: int = 0
    alpha: float = 0.0
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """The tensors of a file by their names in the model, and what its config says."""

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)


def read(
    path: Path, base: Checkpoint, *, alpha: float | None = None, first: Path | None = None
) -> Found:
    """What `path` holds, for `base`. `first` is the file of PiSSA's first pairs.

    NotFound; InputError where it is nothing known here or something is to be added to the command;
    ModelMismatch where it is for a model of another shape; CorruptData for unusable numbers.
    """
    source = _open(path)
    names = source.tensors.keys()
    if names and all(map(_STATE.fullmatch, names)):
        return _state(source, base)
    if any(map(_OURS.fullmatch, names)):
        return _checked(N_("an adapter of this program"), source.tensors, base, path)
    if any(map(_BLOCK.fullmatch, names)):
        return _miss(source, base)
    if any(map(_PAIR.fullmatch, names)):
        return _lora(source, base, alpha, first)
    raise _unknown(path, names)


def _unknown(path: Path, names: Any) -> InputError:
    """What to say of a file that is none of the known kinds."""
    if "emb.weight" in names:
        return InputError(
            "{path} is a whole model; it needs no import: give it as --model", path=path.name
        )
    if any(name.endswith(".bone") for name in names):
        return InputError(
            "{path} is a Bone adapter from before DiSHA, of which there are several forms that "
            "look alike; merge it with the program that made it",
            path=path.name,
        )
    return InputError(
        "{path} holds no tuned state and no adapter that is known here ({sample}, …); known are "
        "time_state, LoRA, PiSSA, DiSHA, MiSS and peft's folders",
        path=path.name,
        sample=", ".join(sorted(names)[:3]) or "nothing",
    )


def _open(path: Path) -> _Source:
    config: Mapping[str, Any] = {}
    file = path
    if path.is_dir():
        config, file = _config(path / CONFIG), path / WEIGHTS
    if not file.is_file():
        raise NotFound("{file} does not exist; check the path", file=file)
    try:
        tensors, _ = read_tensors(file)
    except UnsupportedModel as error:
        values = error.message.values
        reason = values.get("start") or values.get("reason") or error.message
        raise InputError(
            "{file} cannot be imported: {reason}", file=file.name, reason=reason
        ) from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InputError(
                "{file} cannot be imported: {name} holds {dtype}, expected floats",
                file=file.name,
                name=name,
                dtype=tensor.dtype,
            )
    return _Source(
        path, {_PREFIX.sub("", name): tensor for name, tensor in tensors.items()}, config
    )


def _config(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise ValueError("too large")
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no object")
    except FileNotFoundError:
        raise NotFound(
            "{path} does not exist; give a file, or a folder of peft's", path=path
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            "{path} is no config of peft ({reason}); check the folder", path=path, reason=error
        ) from error
    for name in ("use_dora", "alpha_pattern", "lora_bias", "use_qalora", "layer_replication"):
        if config.get(name):
            raise InputError(
                "{path} uses {name}, which cannot be imported; merge it with peft",
                path=path,
                name=name,
            )
    return config


def _state(source: _Source, base: Checkpoint) -> Found:
    state = State.from_time_state(source.tensors, base.shape)
    if not torch.isfinite(state.wkv).all():
        raise InputError(
            "{path} holds values that are no numbers; download it again", path=source.path.name
        )
    return Found(N_("a tuned state (time_state)"), "state", state.to_time_state())


def _lora(source: _Source, base: Checkpoint, alpha: float | None, first: Path | None) -> Found:
    begun = str(source.config.get("init_lora_weights", ""))
    if begun.startswith("pissa") and first is None:
        raise InputError(
            "{path} is a PiSSA adapter, of use only with its first pairs; give their "
            "file with --init",
            path=source.path.name,
        )
    if begun not in ("", "True", "False", "gaussian", "eva") and not begun.startswith("pissa"):
        raise InputError(
            "{path} began as {begun}, which changed the base; merge it with peft",
            path=source.path.name,
            begun=begun,
        )
    pairs, rest = _pairs(source, _PAIR)
    if first is not None:
        return _pissa(source, base, pairs, rest, first)
    alpha = source.config.get("lora_alpha", alpha)
    if not _is_scale(alpha):
        raise InputError(
            "{path} is a LoRA that does not say its alpha; give the one it was trained "
            "with as --alpha (often 32)",
            path=source.path.name,
        )
    tensors = {}
    for name, (a, b) in pairs.items():
        tensors[f"{name}.lora_A"] = a.float()
        tensors[f"{name}.lora_B"] = b.float() * _scale(source, float(alpha), a.shape[0])
    what = N_("a LoRA in a folder of peft") if source.config else N_("a slim LoRA")
    return _checked(what, {**tensors, **_replaced(rest, base)}, base, source.path, float(alpha))


def _pissa(
    source: _Source,
    base: Checkpoint,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    rest: Mapping[str, Tensor],
    first: Path,
) -> Found:
    """W - B0 A0 + B A, as the pair of twice the rank that is added to W."""
    begun, _ = _pairs(_open(first), _FIRST)
    if begun.keys() != pairs.keys():
        raise ModelMismatch(
            "{first} has the first pairs of {begun} matrices and {path} changes {pairs}; "
            "give the file of the same training with --init",
            first=first.name,
            begun=len(begun),
            path=source.path.name,
            pairs=len(pairs),
        )
    tensors = {}
    for name, (a, b) in pairs.items():
        first_a, first_b = begun[name]
        if first_a.shape != a.shape or first_b.shape != b.shape:
            raise ModelMismatch(
                "{first} has {name} as {shape} and {path} as {shape2}; give the file of the "
                "same training with --init",
                first=first.name,
                name=name,
                shape=tuple(first_a.shape),
                path=source.path.name,
                shape2=tuple(a.shape),
            )
        # RWKV-PEFT has no scale in PiSSA; peft has.
        alpha = source.config.get("lora_alpha", a.shape[0])
        if not _is_scale(alpha):
            raise InputError(
                "{path} says an alpha of {alpha!r}; get the folder again",
                path=source.path.name,
                alpha=alpha,
            )
        scale = _scale(source, float(alpha), a.shape[0])
        tensors[f"{name}.lora_A"] = torch.cat([a.float(), first_a.float()])
        tensors[f"{name}.lora_B"] = torch.cat([b.float(), -first_b.float()], 1) * scale
    return _checked(N_("a PiSSA adapter"), {**tensors, **_replaced(rest, base)}, base, source.path)


def _is_scale(alpha: object) -> TypeGuard[float]:
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        return False
    return math.isfinite(alpha) and alpha > 0


def _scale(source: _Source, alpha: float, rank: int) -> float:
    return alpha / (math.sqrt(rank) if source.config.get("use_rslora") else max(1, rank))


def _miss(source: _Source, base: Checkpoint) -> Found:
    mode = source.config.get("init_weights", True)
    if mode == "bat":
        raise InputError(
            "{path} is a MiSS adapter of the mode bat, which multiplies the base; merge "
            "it with peft",
            path=source.path.name,
        )
    tensors, rest, what = {}, {}, N_("a DiSHA (MiSS) adapter")
    for name, tensor in source.tensors.items():
        match = _BLOCK.fullmatch(name)
        if match is None:
            rest[name] = tensor
        elif tensor.dim() == 3:
            what = N_("a DiSHA adapter of the mode bat")
            weight = f"{match[1]}.weight"
            tensors[f"{weight}.delta"] = _multiplied(weight, tensor.float(), base)
        else:
            block = tensor.float()
            if mode == "mini":  # one block of a few outputs, said again for all of them
                outputs = _sizes(f"{match[1]}.weight", base)[0]
                block = block.repeat(1, max(1, outputs // max(1, block.shape[-1])))
            tensors[f"{match[1]}.weight.miss"] = block
    return _checked(what, {**tensors, **_replaced(rest, base)}, base, source.path)


def _multiplied(name: str, blocks: Tensor, base: Checkpoint) -> Tensor:
    """The difference that mode "bat" makes: each r x r tile T of a column of tiles becomes
    T + T D + D, with the block D (r, r) of that column.
    """
    outputs, inputs = _sizes(name, base)
    count, rank = blocks.shape[0], blocks.shape[2]
    if blocks.shape[1] != rank or count * rank != inputs or outputs % max(1, rank):
        raise ModelMismatch(
            "the adapter's {name} has shape {shape}, which does not fit {value} of the "
            "model; use it with the model it was tuned on",
            name=name,
            shape=tuple(blocks.shape),
            value=(outputs, inputs),
        )
    tiles = base.tensors[name].float().reshape(outputs // rank, rank, count, rank).transpose(1, 2)
    return (tiles @ blocks + blocks).transpose(1, 2).reshape(outputs, inputs)


def _sizes(name: str, base: Checkpoint) -> tuple[int, ...]:
    if not is_matrix(name) or name not in base.tensors:
        raise ModelMismatch(
            "the adapter changes {name}, which the model does not have; use it with the "
            "model it was tuned on",
            name=name,
        )
    return tuple(base.tensors[name].shape)


def _pairs(
    source: _Source, pattern: re.Pattern[str]
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """A and B of each matrix by its name, and what is no part of a pair."""
    sides: dict[str, dict[str, Tensor]] = {}
    rest = {}
    for name, tensor in source.tensors.items():
        if match := pattern.fullmatch(name):
            sides.setdefault(f"{match[1].removesuffix('.weight')}.weight", {})[match[2]] = tensor
        else:
            rest[name] = tensor
    for name, each in sides.items():
        if each.keys() != {"A", "B"} or {tensor.dim() for tensor in each.values()} != {2}:
            raise InputError(
                "{path} has only a part of the pair for {name}; get the file again",
                path=source.path.name,
                name=name,
            )
    return {name: (each["A"], each["B"]) for name, each in sides.items()}, rest


def _replaced(tensors: Mapping[str, Tensor], base: Checkpoint) -> dict[str, Tensor]:
    """Tensors that were trained whole beside an adapter, as differences to the base's."""
    wanted = layout.expected(base.shape)
    differences = {}
    for name, tensor in tensors.items():
        if name not in wanted or tensor.numel() != math.prod(wanted[name]):
            raise ModelMismatch(
                "the adapter comes with {name} as {shape}, which the model has as {name2}; "
                "use it with the model it was tuned on",
                name=name,
                shape=tuple(tensor.shape),
                name2=wanted.get(name, "nothing"),
            )
        was = base.tensors[name].float().reshape(wanted[name])
        differences[f"{name}.delta"] = tensor.float().reshape(wanted[name]) - was
    return differences


def _checked(
    what: str,
    tensors: Mapping[str, Tensor],
    base: Checkpoint,
    path: Path,
    alpha: float = 0.0,
) -> Found:
    adapter = Adapter.of(tensors, base.shape, source=path.name)
    whole = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    ranks = [t.shape[0] for name, t in whole.items() if name.endswith((".lora_A", ".miss"))]
    changed = [*adapter.pairs, *adapter.deltas]
    parts = {name.split(".")[2] for name in changed if name.startswith("blocks.")}
    kept = tuple(part for part in ("att", "ffn") if part in parts)
    return Found(what, "adapter", whole, max(ranks, default=0), alpha, kept)
