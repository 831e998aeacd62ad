"""The optional parts: which are installed, and the command that installs each. Imports none."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from rwkv_rag.diagnosis.finding import Finding, ok, warn
from rwkv_rag.i18n import N_

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
        about, versions = f"[{extra}]", {name: _version(name) for name in distributions}
        if missing := ", ".join(name for name, version in versions.items() if not version):
            install, judged = f"pip install 'rwkv-rag[{extra}]'", warn if extra in USUAL else ok
            yield judged(about, N_("not installed: {missing}"), install, missing=missing)
        else:
            installed = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield ok(about, "installed: {installed}", installed=installed)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
