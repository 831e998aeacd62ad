"""The optional parts: which are installed, and the command that installs each. Imports none."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from rwkv_rag.diagnosis.finding import Finding, State, finding, ok

EXTRAS = {
    "ui": ("streamlit",),
    "api": ("fastapi", "uvicorn", "python-multipart", "prometheus-client"),
    "tune": ("peft", "lightning-fabric"),
    "wandb": ("wandb",),
    "gpu": ("bitsandbytes", "flash-linear-attention"),
}
USUAL = ("ui", "api", "tune")
"""What most people want; nobody is warned that the others are missing."""


def extras() -> Iterator[Finding]:
    """One finding for each optional part."""
    for extra, distributions in EXTRAS.items():
        yield _extra(extra, distributions)


def _extra(extra: str, distributions: tuple[str, ...]) -> Finding:
    about, versions = f"[{extra}]", {name: _version(name) for name in distributions}
    missing = ", ".join(name for name, version in versions.items() if not version)
    if not missing:
        installed = ", ".join(f"{name} {version}" for name, version in versions.items())
        return ok(about, "installed: {installed}", installed=installed)
    state: State = "warn" if extra in USUAL else "ok"
    remedy = "pip install 'rwkv-rag[{extra}]'"
    return finding(state, about, "not installed: {missing}", remedy, missing=missing, extra=extra)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
