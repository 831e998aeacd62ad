"""What every endpoint works with: the parts of the program, the options, the figures.

An endpoint takes it as a parameter `here: Here`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from rwkv_rag.api.flow import Flow, Form, Slots, Step
from rwkv_rag.api.measures import Measures
from rwkv_rag.api.options import Options
from rwkv_rag.api.readiness import Readiness
from rwkv_rag.app import Client
from rwkv_rag.interfaces import Supervision
from rwkv_rag.types import Language


@dataclass(frozen=True, slots=True)
class Context:
    """One server. `supervision` is there where a supervisor runs the services."""

    parts: Client
    options: Options
    language: Language
    home: Path
    measures: Measures
    readiness: Readiness
    supervision: Supervision | None = None
    slots: Slots = field(default_factory=Slots)

    def flow(self, steps: Iterator[Step], form: Form | None = None) -> Flow:
        """Steps as a response: sent one by one in `form`, or gathered into one JSON object."""
        return Flow(steps, form=form, slots=self.slots)


# A coroutine, so that the framework does not hand it to a thread.
async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Here = Annotated[Context, Depends(_context)]
