"""Adapter files: what a tuning changed of a model's tensors, as low-rank pairs and differences.

A file holds, for a checkpoint tensor NAME such as `blocks.3.att.receptance.weight`:

    NAME.lora_A (r, in), NAME.lora_B (out, r)   W + B A; the scale is folded into B
    NAME.miss (r, out)                          W[o, i] + miss[i mod r, o]
    NAME.delta, in the tensor's own shape       W + delta

Whatever the kind, matrices come out as pairs and vectors as differences. Knows the layout of
models, and neither how adapters are trained nor how they are applied while a model runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rwkv_rag.errors import CorruptData, ModelMismatch, NotFound
from rwkv_rag.rwkv import layout
from rwkv_rag.rwkv.checkpoint import save_checkpoint
from rwkv_rag.rwkv.layout import Shape

KINDS = ("lora_A", "lora_B", "miss", "delta")
FLOATS = ("F32", "F16", "BF16", "F64")
# Tables of a row a token are not changed: they are too large to be given along with a request.
_TABLES = ("emb.weight", "head.weight")
# What multiplies a vector; `att.r_k` has two dimensions too but is a vector a head.
_MATRIX = re.compile(r".*\.(att\.(receptance|key|value|output)|ffn\.(key|value))\.weight")
_SMALL_MATRIX = re.compile(r".*\.att\.[wavg][12]")


@dataclass(frozen=True, slots=True)
class LowRank:
    """A change b @ a of a matrix (out, in) as the checkpoint stores it; both fp32."""

    a: Tensor  # (r, in)
    b: Tensor  # (out, r)

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    @property
    def delta(self) -> Tensor:
        return self.b @ self.a

    @classmethod
    def of_miss(cls, miss: Tensor, width: int) -> LowRank:
        """The pair of a MiSS block (r, out): inputs `i`, `i + r`, … share the weights of `i`."""
        eye = torch.eye(len(miss))
        return cls(
            eye.repeat(1, -(-width // len(miss)))[:, :width].contiguous(), miss.T.contiguous()
        )

    @classmethod
    def of_delta(cls, delta: Tensor) -> LowRank:
        """A pair as small as it can be without looking at the values: one side is the identity."""
        rows, columns = delta.shape
        if rows < columns:
            return cls(delta, torch.eye(rows))
        return cls(torch.eye(columns), delta)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A tuned change of a model: `pairs` by the names of matrices, `deltas` by those of vectors.

    Low-rank parts (`att.w1` …) are matrices in the checkpoint's own orientation. Vectors have the
    shape that `layout.expected` gives them.
    """

    pairs: Mapping[str, LowRank] = field(default_factory=dict)
    deltas: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str, shape: Shape) -> Adapter:
        """Read and check an adapter of a model of `shape`.

        NotFound; CorruptData for what is no adapter file, is damaged or holds NaN; ModelMismatch
        where it changes tensors that the model does not have or has in another shape.
        """
        path = Path(path)
        if not path.is_file():
            raise NotFound("no such adapter file: {path}", path=path)
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                names = list(file.keys())
                model = layout.expected(shape)
                for name in names:  # sizes are checked before anything of that size is read
                    part = file.get_slice(name)
                    _check_type(path, name, part.get_dtype())
                    _check_sizes(str(path), name, tuple(part.get_shape()), model)
                tensors = {name: file.get_tensor(name).float() for name in names}
        except (SafetensorError, OSError, ValueError) as error:
            raise CorruptData(
                "{path} holds no adapter ({reason}); tune or import it again",
                path=path,
                reason=error,
            ) from error
        return cls.of(tensors, shape, source=str(path))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], shape: Shape, *, source: str = "it") -> Adapter:
        """The adapter that a file with these tensors would be, checked the same way."""
        if not tensors:
            raise CorruptData(
                "{source} holds no adapter (empty); tune or import it again", source=source
            )
        model = layout.expected(shape)
        for name, tensor in tensors.items():
            _check_sizes(source, name, tuple(tensor.shape), model)
            if not torch.isfinite(tensor).all():
                raise CorruptData(
                    "{source} holds no usable numbers in {name}; tune or import it again",
                    source=source,
                    name=name,
                )
        pairs, deltas = {}, {}
        for target, parts in _by_target(tensors, source).items():
            if is_matrix(target):
                pairs[target] = _pair(parts, model[target])
            else:
                deltas[target] = parts["delta"].float().reshape(model[target])
        return cls(pairs, deltas)

    @staticmethod
    def save(path: Path | str, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors of the names above, whole or not at all."""
        save_checkpoint(path, tensors, {"kind": "rwkv7-adapter"})


def merged(tensors: Mapping[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """The model's tensors with the adapter in them; in their own dtypes, added in fp32.

    Tensors that the adapter leaves alone are the ones given, not copies.
    """
    whole = dict(tensors)
    for name, pair in adapter.pairs.items():
        whole[name] = _added(tensors[name], pair.delta)
    for name, delta in adapter.deltas.items():
        whole[name] = _added(tensors[name], delta)
    return whole


def is_matrix(name: str) -> bool:
    """Whether the checkpoint tensor `name` is a matrix that adapters change by a pair."""
    return bool(_MATRIX.fullmatch(name) or _SMALL_MATRIX.fullmatch(name))


def _added(tensor: Tensor, delta: Tensor) -> Tensor:
    return (tensor.float() + delta.reshape(tensor.shape)).to(tensor.dtype)


def _pair(parts: Mapping[str, Tensor], sizes: tuple[int, ...]) -> LowRank:
    if "lora_A" in parts:
        return LowRank(parts["lora_A"].float(), parts["lora_B"].float())
    if "miss" in parts:
        return LowRank.of_miss(parts["miss"].float(), sizes[1])
    return LowRank.of_delta(parts["delta"].float())


def _by_target(tensors: Mapping[str, Tensor], source: str) -> dict[str, dict[str, Tensor]]:
    """The tensors by what they change; each target is changed in one way, and completely."""
    targets: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        target, kind = name.rsplit(".", 1)
        targets.setdefault(target, {})[kind] = tensor
    for target, parts in targets.items():
        kinds = sorted(parts)
        if kinds not in (["lora_A", "lora_B"], ["miss"], ["delta"]):
            found = " and ".join(kinds)
            raise CorruptData(
                "{source} holds {found} of {target}, which is no whole change of it; tune or "
                "import it again",
                source=source,
                found=found,
                target=target,
            )
        if len(kinds) == 2 and parts["lora_A"].shape[0] != parts["lora_B"].shape[1]:
            raise CorruptData(
                "{source} holds lora_A and lora_B of {target} that do not fit together; tune "
                "or import it again",
                source=source,
                target=target,
            )
    return targets


def _check_type(path: Path, name: str, dtype: str) -> None:
    if dtype not in FLOATS:
        raise CorruptData(
            "{path} holds {name} as {dtype}, not as floats; tune or import it again",
            path=path,
            name=name,
            dtype=dtype,
        )


def _check_sizes(
    source: str, name: str, sizes: tuple[int, ...], model: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a tensor that is no part of an adapter, or of one for a model of another shape."""
    target, _, kind = name.rpartition(".")
    if kind not in KINDS:
        raise CorruptData(
            "{source} holds no adapter ({name}); tune or import it again", source=source, name=name
        )
    wanted = None if target in _TABLES else model.get(target)
    if wanted is None or (kind != "delta" and not is_matrix(target)):
        raise ModelMismatch(
            "the adapter changes {target}, which the model in use does not have or "
            "cannot change; use it with the model it was tuned on",
            target=target,
        )
    if not _fits(kind, sizes, wanted):
        raise ModelMismatch(
            "the adapter's {name} has shape {sizes}, which does not fit {target} of the "
            "model in use with {wanted}; use it with the model it was tuned on",
            name=name,
            sizes=sizes,
            target=target,
            wanted=wanted,
        )


def _fits(kind: str, sizes: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if kind == "delta" and len(wanted) == 1:  # (n,), or (1, 1, n) as some files have it
        return bool(sizes) and sizes[-1] == wanted[0] and set(sizes[:-1]) <= {1}
    if kind == "delta":
        return sizes == wanted
    if len(sizes) != 2:
        return False
    rank, side = sizes if kind != "lora_B" else sizes[::-1]
    outputs, inputs = wanted
    # Twice the smaller side is what the difference of two pairs can need (PiSSA).
    most = inputs if kind == "miss" else 2 * min(wanted)
    return 1 <= rank <= most and side == (inputs if kind == "lora_A" else outputs)
