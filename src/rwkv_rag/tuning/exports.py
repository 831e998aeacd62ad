"""Tuned results, written for other programs: states, adapters, and whole merged models.

    state      .pth or .safetensors of `blocks.{i}.att.time_state`, in fp32 as it was trained
    adapter    .safetensors: our own file; .pth: RWKV-PEFT's slim LoRA or DiSHA; a folder: peft's
    merged     .safetensors of the whole base with the state or adapter in it

A whole model takes its vocabulary along, as vocab.txt beside it. Knows how the files are written;
what they mean stands in `formats`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rwkv_rag.errors import AlreadyExists, CorruptData, InputError
from rwkv_rag.i18n import N_
from rwkv_rag.rwkv.adapter import Adapter, merged
from rwkv_rag.rwkv.checkpoint import Checkpoint, load_checkpoint
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tuned import FILES, Kind, Tuned, TunedStore
from rwkv_rag.tuning import formats
from rwkv_rag.tuning.formats import CONFIG, WEIGHTS, Found
from rwkv_rag.tuning.settings import BaseFiles

VOCABULARY = "vocab.txt"


def store_found(store: TunedStore, found: Found, tuned: Tuned) -> None:
    """Store what was imported as `tuned`."""
    with storing(store, tuned) as path:
        save_file(dict(found.tensors), path)


def import_file(
    store: TunedStore,
    files: BaseFiles,
    file: Path,
    name: str,
    *,
    alpha: float | None = None,
    first: Path | None = None,
) -> tuple[str, Tuned]:
    """Store another program's state or adapter for a base; see `formats.read`.

    Returns what the file turned out to be, in words, and what was stored.
    """
    store.check_free(name)
    base = load_checkpoint(files.model)
    found = formats.read(file, base, alpha=alpha, first=first)
    tuned = Tuned(
        name,
        found.kind,
        base.sha256,
        files.name,
        "import",
        rank=found.rank,
        alpha=found.alpha,
        parts=found.parts,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    store_found(store, found, tuned)
    return found.what, tuned


@contextmanager
def storing(store: TunedStore, tuned: Tuned) -> Iterator[Path]:
    """The file to write the tensors of `tuned` to; when the block ends without error it is stored.

    Raises AlreadyExists, and InputError for what the system says against writing.
    """
    with _writing(store.path(tuned.name)), store.adding(tuned) as folder:
        yield folder / FILES[tuned.kind]


def write_model(
    path: Path,
    base: Checkpoint,
    changed: Mapping[str, Tensor],
    *,
    heads: bool = False,
    vocabulary: Path | None = None,
) -> None:
    """Write `base` with the tensors of `changed` in it, in the shapes and types of its own file.

    `heads` keeps the heads of other roles, which fit only a base that reads as it did; a
    `vocabulary` is put beside the file.
    """
    like = dict(base.tensors)
    if base.metadata.get("tied_head") == "true":
        del like["head.weight"]  # it is the embedding table
    whole = {
        name: changed.get(name, tensor).reshape(tensor.shape).to(tensor.dtype)
        for name, tensor in like.items()
    }
    whole |= {n: t for n, t in base.extras.items() if heads or not n.startswith("heads.")}
    whole |= {n: t for n, t in changed.items() if n not in base.tensors}
    save_file({n: t.contiguous() for n, t in whole.items()}, path, metadata=dict(base.metadata))
    _copy_vocabulary(vocabulary, path)


@dataclass(frozen=True, slots=True)
class Written:
    """What an export wrote, in words, and the alpha to merge it with where the file lacks it."""

    what: str
    alpha: int | None = None


_WORDS: dict[Kind, str] = {
    "state": N_("a state"),
    "adapter": N_("an adapter"),
    "model": N_("a whole model"),
}


def export(store: TunedStore, name: str, path: Path) -> Written:
    """Write what is called `name` to `path`, which must not exist.

    Raises AlreadyExists, and InputError for a form that cannot hold it.
    """
    tuned, source = store.find(name), store.tensors(name)
    if path.exists():
        raise AlreadyExists("{path} exists already; choose another name", path=path)
    if path.suffix not in (".safetensors", ".pth", "") or (
        path.suffix == "" and tuned.kind != "adapter"
    ):
        raise InputError(
            "the ending of {path} names no known format; give a name that ends in .safetensors or "
            ".pth, or, for an adapter, a folder without an ending",
            path=path.name,
        )
    _check_parent(path)
    vocabulary = _own_vocabulary(source.with_name(VOCABULARY), path)
    tensors = _load(source)  # also where the file is only copied: nobody wants a damaged one
    if path.suffix == ".safetensors":
        with _writing(path), _whole(path) as part:
            shutil.copyfile(source, part)
            _copy_vocabulary(vocabulary, path)
        return Written(_WORDS[tuned.kind])
    if tuned.kind != "adapter":
        with _writing(path), _whole(path) as part:
            torch.save(tensors, part)
            _copy_vocabulary(vocabulary, path)
        return Written(_WORDS[tuned.kind])
    if path.suffix == ".pth":
        return _slim(tensors, path)
    return _peft(tensors, path)


def merge(
    store: TunedStore, name: str, base: Checkpoint, path: Path, *, vocabulary: Path | None = None
) -> None:
    """Write the base with the state or adapter `name` in it, in the base's own types.

    A base with a `vocabulary` of its own needs it beside the file too, as vocab.txt. An adapter
    changes what heads of other roles read, so these are left out of such a model; a state leaves
    them as they are. Raises ModelMismatch for another base.
    """
    tuned = store.find(name)
    if tuned.kind == "model":
        raise InputError("{name!r} is a whole model already; export it", name=name)
    tuned.check_base(base.sha256)
    if path.suffix != ".safetensors":
        raise InputError(
            "{path} must end in .safetensors, which merged models are saved as", path=path.name
        )
    if path.exists():
        raise AlreadyExists("{path} exists already; choose another name", path=path)
    _check_parent(path)
    vocabulary = _own_vocabulary(vocabulary, path)
    changed: Mapping[str, Tensor]
    if tuned.kind == "state":
        state = State.from_time_state(_load(store.tensors(name)), base.shape)
        changed = state.to_time_state()
    else:
        changed = merged(base.tensors, Adapter.load(store.tensors(name), base.shape))
    with _writing(path), _whole(path) as part:
        write_model(part, base, changed, heads=tuned.kind == "state", vocabulary=vocabulary)


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(
            "{parent} is not there to write into; make the folder first", parent=path.parent
        )


def _own_vocabulary(vocabulary: Path | None, path: Path) -> Path | None:
    """The vocabulary to put beside `path`, if there is one. AlreadyExists where another lies."""
    if vocabulary is None or not vocabulary.exists():
        return None
    beside = path.with_name(VOCABULARY)
    if beside.exists() and beside.read_bytes() != vocabulary.read_bytes():
        raise AlreadyExists(
            "{beside} is another model's vocabulary; choose another folder", beside=beside
        )
    return vocabulary


def _copy_vocabulary(vocabulary: Path | None, path: Path) -> None:
    if vocabulary:
        shutil.copyfile(vocabulary, path.with_name(VOCABULARY))


def _slim(tensors: Mapping[str, Tensor], path: Path) -> Written:
    """RWKV-PEFT's names: LoRA, to be merged with an alpha equal to the rank, or DiSHA."""
    _no_differences(tensors)
    renamed = {
        name.replace(".weight.", ".").replace(".miss", ".disha"): tensor
        for name, tensor in tensors.items()
    }
    with _writing(path), _whole(path) as part:
        torch.save(renamed, part)
    if any(name.endswith(".disha") for name in renamed):
        return Written(N_("a DiSHA adapter in the names of RWKV-PEFT"))
    return Written(N_("a LoRA in the names of RWKV-PEFT"), _rank(tensors))


def _peft(tensors: Mapping[str, Tensor], path: Path) -> Written:
    """A folder that peft loads: the scale is in the tensors, so alpha is the rank."""
    _no_differences(tensors)
    targets = sorted({name.split(".weight.")[0] for name in tensors})
    rank = _rank(tensors)
    config: dict[str, object] = {"peft_type": "LORA", "r": rank, "lora_alpha": rank}
    if any(name.endswith(".miss") for name in tensors):
        config = {"peft_type": "MISS", "r": rank, "init_weights": True}
    config |= {"target_modules": targets, "bias": "none", "inference_mode": True}
    renamed = {f"base_model.model.{_peft_name(name)}": each for name, each in tensors.items()}
    with _writing(path), _whole(path) as part:
        part.mkdir()
        save_file(renamed, part / WEIGHTS, metadata={"format": "pt"})
        (part / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return Written(N_("a folder of peft"))


def _peft_name(name: str) -> str:
    module, kind = name.split(".weight.")
    return f"{module}.miss_block" if kind == "miss" else f"{module}.{kind}.weight"


def _no_differences(tensors: Mapping[str, Tensor]) -> None:
    plain = [name for name in tensors if name.endswith(".delta")]
    if plain:
        raise InputError(
            "the adapter changes {value} by itself, which only our own file can say; "
            "export it as .safetensors, or merge it",
            value=plain[0].removesuffix(".delta"),
        )


def _rank(tensors: Mapping[str, Tensor]) -> int:
    ranks = {each.shape[0] for name, each in tensors.items() if name.endswith((".lora_A", ".miss"))}
    if len(ranks) != 1:
        raise InputError(
            "the adapter has ranks from {ranks} to {ranks2}, which only our own file can "
            "say; export it as .safetensors, or merge it",
            ranks=min(ranks),
            ranks2=max(ranks),
        )
    return ranks.pop()


def _load(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
        if not tensors:
            raise ValueError("empty")
        return tensors
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptData(
            "{path} is damaged ({reason}); tune or import it again", path=path, reason=error
        ) from error


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place to write to; it becomes `path` when the block ends well, and is gone otherwise."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the system or a library says against writing, as one line."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise InputError("{path} cannot be written: {why}", path=path, why=why) from error
