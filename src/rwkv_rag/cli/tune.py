"""`rwkv-rag tune`: start, follow, stop and resume fine-tunings. Knows no method and no network."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True)
