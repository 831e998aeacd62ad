"""Model files: reads .safetensors and .pth into checked tensors, writes .safetensors.

Matrices may be stored as int8 with one scale for each row. The content decides what a file is,
never its name; pickles are only opened with `weights_only=True`. Knows the names and shapes of
tensors, not the mathematics.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rwkv_rag.errors import InputError, Message, NotFound, UnsupportedModel, message
from rwkv_rag.rwkv import layout
from rwkv_rag.rwkv.layout import Shape

_SCALE = ".scale"
_WANTED = Message("give an RWKV-7 (x070) model as .pth or .safetensors")
# What torch and pickle raise for files that are cut short, damaged or hold more than tensors.
_UNREADABLE = (
    RuntimeError, pickle.UnpicklingError, EOFError, OSError, KeyError, ValueError, TypeError,
    AttributeError, IndexError,
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A model's tensors in the official key layout, checked, and what else its file held.

    `stored` names the type of the big matrices in the file; int8 matrices are given dequantised.
    `extras` holds tensors beyond the model: `heads.*` of roles and `blocks.*.att.time_state`.
    """

    shape: Shape
    tensors: Mapping[str, torch.Tensor]
    stored: str = "fp32"
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, in hex: what tuned states and adapters name their base by."""
        if self.path is None:
            raise InputError("a checkpoint made in memory has no file hash; save it first")
        return file_sha256(self.path)


def file_sha256(path: Path) -> str:
    """Hash of a model file, in hex. NotFound where there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        raise NotFound("no such model file: {path}", path=path) from None
    return digest.hexdigest()


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read and check a model file. NotFound, or UnsupportedModel saying what was found instead."""
    path = Path(path)
    try:
        tensors, metadata = read_tensors(path)
        return from_tensors(tensors, metadata, path=path)
    except UnsupportedModel as error:
        raise UnsupportedModel("{path}: {reason}", path=path.name or path, reason=error) from error


def from_tensors(
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    path: Path | None = None,
) -> Checkpoint:
    """Check tensors that are in memory; what `load_checkpoint` does after reading."""
    metadata = dict(metadata or {})
    layout.check_version(tensors)
    stored = _stored(tensors)
    tensors = _dequantized(tensors)
    if "head.weight" not in tensors:
        tensors["head.weight"] = _tied_head(tensors, metadata)
    shape = layout.shape_of(tensors)
    layout.check(tensors, shape)
    wanted = layout.expected(shape)
    return Checkpoint(
        shape=shape,
        tensors={name: tensors[name] for name in wanted},
        stored=stored,
        extras={name: tensor for name, tensor in tensors.items() if name not in wanted},
        metadata=metadata,
        path=path,
    )


def save_checkpoint(
    path: Path | str,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors as .safetensors, whole or not at all. An int8 matrix needs its `NAME.scale`."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(
            "models are saved as .safetensors, not {suffix!r}: {path}",
            suffix=path.suffix,
            path=path.name,
        )
    _scales_match(tensors)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, partial, metadata=dict(metadata or {}))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors and the metadata of a .safetensors or PyTorch file, on the CPU, unchecked."""
    if not path.exists():
        raise NotFound("no such model file: {path}", path=path)
    if path.is_dir():
        raise UnsupportedModel("not a file but a directory; {wanted}", wanted=_WANTED)
    if not path.is_file():
        raise UnsupportedModel("not a file but a device or a pipe; {wanted}", wanted=_WANTED)
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # after the header's length, whose first byte may be anything
        return _read_safetensors(path)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return _read_torch(path, mapped=start[:2] == b"PK"), {}
    raise UnsupportedModel("{start}, not a model; {wanted}", start=_kind(start), wanted=_WANTED)


def _kind(start: bytes) -> Message:
    if not start:
        return message("an empty file")
    if start[:4] == b"GGUF":
        return message("a GGUF file of llama.cpp")
    if start[:4] == b"fmgg":
        return message("a file of rwkv.cpp")
    return message("a file that begins with {start}", start=start[:8])


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise UnsupportedModel(
            "damaged or cut short ({reason}); download it again", reason=error
        ) from error


def _read_torch(path: Path, *, mapped: bool) -> dict[str, torch.Tensor]:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice meant for the author of the file
            # Only a path can be mapped; but torch takes one that ends so for a safetensors file.
            mapped = mapped and path.suffix != ".safetensors"
            source = path if mapped else file
            content = torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except _UNREADABLE as error:
        reason = str(error).split("\n")[0][:120]
        raise UnsupportedModel(
            "damaged, cut short, or more than tensors ({reason}); {wanted}",
            reason=reason,
            wanted=_WANTED,
        ) from error
    if not isinstance(content, dict):
        raise UnsupportedModel(
            "holds a {name} instead of tensors; {wanted}",
            name=type(content).__name__,
            wanted=_WANTED,
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UnsupportedModel(
                "entry {name!r} is a {name2}, not a tensor; {wanted}",
                name=name,
                name2=type(value).__name__,
                wanted=_WANTED,
            )
    return content


def _stored(tensors: Mapping[str, torch.Tensor]) -> str:
    titles = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    matrix = tensors.get("blocks.0.ffn.key.weight")
    if matrix is None:
        return "fp32"
    return "int8" if matrix.dtype == torch.int8 else titles.get(matrix.dtype, str(matrix.dtype))


def _dequantized(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    _scales_match(tensors)
    plain = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8:
            plain[name] = dequantize_rows(tensor, tensors[name + _SCALE])
        elif not (name.endswith(_SCALE) and name.removesuffix(_SCALE) in tensors):
            plain[name] = tensor
    return plain


def _scales_match(tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != torch.int8:
            continue
        scale = tensors.get(name + _SCALE)
        if scale is None or tensor.dim() != 2 or scale.shape != tensor.shape[:1]:
            raise UnsupportedModel(
                "int8 tensor {name} needs {scale} with one number for each of its rows",
                name=name,
                scale=name + _SCALE,
            )


def _tied_head(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> torch.Tensor:
    if metadata.get("tied_head") != "true" or "emb.weight" not in tensors:
        raise UnsupportedModel(
            "tensor head.weight is missing: the file is incomplete or no language model"
        )
    return tensors["emb.weight"]


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric int8 of a matrix (out, in) and its fp32 scales (out,); zero rows get scale 1."""
    weight = weight.float()
    scale = weight.abs().amax(dim=1) / 127
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (weight / scale[:, None]).round().to(torch.int8), scale


def dequantize_rows(quantized: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The fp32 matrix that `quantize_rows` stored, to half a step of its row's scale."""
    return quantized.float() * scale.float()[:, None]
