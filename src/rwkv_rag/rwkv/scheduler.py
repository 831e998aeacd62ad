"""Continuous batching: all generations in progress take each step in one batch.

One thread runs the model. A request joins the batch when its prompt has been read and leaves it
when it has ended, failed or been cancelled. Long prompts are read in chunks, one between any two
steps, so that no stream stops for another request's prompt. Requests with the same model (or the
same adapter on it) share a batch; batches of different models take turns. Knows neither names of
models nor files.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from rwkv_rag.errors import Busy
from rwkv_rag.rwkv.generation import Generation
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.x070 import X070
from rwkv_rag.types import Delta

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

MAX_ACTIVE = 16  # requests being read or generated; each holds a state in memory
MAX_WAITING = 64  # further requests in the queue; more get Busy
CHUNK_TOKENS = 256  # of a prompt, read between two steps of others
LONE_CHUNK_TOKENS = 1024  # of a prompt, read while no other request is active
IDLE_S = 5.0  # the thread ends when there were no requests for so long

M = TypeVar("M")


@dataclass(eq=False)
class Request:
    """One generation with `model`, which reads on from `state` (None: from nothing)."""

    model: X070
    state: State | None
    generation: Generation
    deltas: SimpleQueue[Delta | BaseException] = field(default_factory=SimpleQueue)
    read: int = 0  # tokens of the prompt
    done: bool = False

    def end(self, last: Delta | BaseException) -> None:
        """Deliver `last`, after which nothing more comes."""
        self.done = True
        self.deltas.put(last)


class Batch(Generic[M]):
    """Sequences that one model reads together, with their states in one block of memory.

    Adding and removing copies the state of one sequence. `members` are the caller's names for the
    sequences, in the order of their states.
    """

    def __init__(self, model: X070) -> None:
        self._model = model
        self._states = model.zero_state(1)
        self.members: list[M] = []

    def add(self, member: M, state: State) -> None:
        """Add a sequence whose state (a batch of one) is copied."""
        if len(self.members) == self._states.batch:
            self._states = State.stack([self._states, self._model.zero_state(self._states.batch)])
        self._states.put(len(self.members), state)
        self.members.append(member)

    def remove(self, gone: Callable[[M], bool]) -> None:
        """Remove the members that are `gone`; the last one takes the place of each."""
        for index in reversed(range(len(self.members))):
            if gone(self.members[index]):
                last = self.members.pop()
                if index < len(self.members):
                    self.members[index] = last
                    self._states.put(index, self._states, len(self.members))

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read one token for each member, in their order; logits (B, V)."""
        return self._model.step(tokens, self._states.first(len(self.members)))


class Scheduler:
    """Runs requests together. `run` may be called from any number of threads."""

    def __init__(self, token_logits: Callable[[torch.Tensor], NDArray[np.float32]]) -> None:
        """`token_logits` turns the model's logits into rows for `Generation.push`."""
        self._token_logits = token_logits
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._thread: threading.Thread | None = None
        self._closing = False
        # Only the thread uses the following.
        self._reading: deque[Request] = deque()
        self._batches: dict[X070, Batch[Request]] = {}

    def run(self, request: Request) -> Iterator[Delta]:
        """The deltas of a request, which is submitted with the first `next`. Busy if too many wait.

        It is generated to its end even if the deltas are fetched slowly; closing the iterator
        cancels it.
        """
        self._submit(request)
        try:
            while not isinstance(delta := request.deltas.get(), BaseException):
                yield delta
                if delta.finish:
                    return
            raise delta
        finally:
            self._cancel(request)

    def close(self) -> None:
        """End the thread; requests that are not finished fail."""
        with self._changed:
            self._closing, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _submit(self, request: Request) -> None:
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                raise Busy(
                    "{waiting} answers are waiting already; ask again in a moment",
                    waiting=MAX_WAITING,
                )
            self._waiting.append(request)
            if self._thread is None:
                self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        self._closing = False
        # A daemon thread, so that it does not keep the process alive; but the interpreter must not
        # be torn down while it runs the model, so it is ended at exit.
        self._thread = threading.Thread(target=self._serve, name="rwkv-engine", daemon=True)
        atexit.register(self.close)
        self._thread.start()

    def _cancel(self, request: Request) -> None:
        with self._changed:
            request.done = True
            if request in self._waiting:
                self._waiting.remove(request)

    def _serve(self) -> None:
        try:
            while self._admit():
                self._round()
        except BaseException as error:  # no caller may be left waiting
            self._stop(error)

    def _admit(self) -> bool:
        """Activate waiting requests. False where the thread has ended: closed, or idle too long."""
        with self._changed:
            if not self._reading and not self._batches:
                self._changed.wait_for(lambda: self._waiting or self._closing, IDLE_S)
            active = len(self._reading) + sum(len(each.members) for each in self._batches.values())
            while self._waiting and active < MAX_ACTIVE:
                self._reading.append(self._waiting.popleft())
                active += 1
            if active and not self._closing:
                return True
            self._stop(Busy("the program is ending; ask again when it has started anew"))
            return False

    def _round(self) -> None:
        """A step of every batch, then a chunk of one prompt."""
        for model, batch in list(self._batches.items()):
            self._step(batch)
            if not batch.members:
                del self._batches[model]
        if self._reading:
            self._read(self._reading.popleft())

    def _step(self, batch: Batch[Request]) -> None:
        try:
            logits = batch.step([each.generation.token for each in batch.members])
            rows = self._token_logits(logits)
        except Exception as error:
            for request in batch.members:
                request.end(error)
        else:
            for request, row in zip(batch.members, rows, strict=True):
                self._push(request, row)
        batch.remove(lambda request: request.done)

    def _read(self, request: Request) -> None:
        """Read a chunk of a prompt; after the last one the request joins its batch."""
        if request.done:
            return
        size = CHUNK_TOKENS if self._batches or self._reading else LONE_CHUNK_TOKENS
        ids = request.generation.prompt_ids
        chunk = ids[request.read : request.read + size]
        request.read += len(chunk)
        last = request.read == len(ids)
        try:
            output = request.model.forward([chunk], request.state, logits=last)
            request.state = output.state
            if not last:
                self._reading.append(request)
                return
            row = self._token_logits(output.logits)[0]
        except Exception as error:
            request.end(error)
        else:
            self._push(request, row)
            if not request.done:
                self._join(request, output.state)

    def _join(self, request: Request, state: State) -> None:
        if request.model not in self._batches:
            self._batches[request.model] = Batch(request.model)
        self._batches[request.model].add(request, state)
        request.state = None

    def _push(self, request: Request, row: NDArray[np.float32]) -> None:
        """Draw one token; an error here fails this request only."""
        try:
            if text := request.generation.push(row):
                request.deltas.put(Delta(text))
            if request.generation.ended:
                request.end(request.generation.close())
        except Exception as error:
            request.end(error)

    def _stop(self, error: BaseException) -> None:
        """The thread ends; unfinished requests fail with `error`."""
        with self._changed:
            self._thread = None
            atexit.unregister(self.close)
            members = [each for batch in self._batches.values() for each in batch.members]
            for request in (*self._waiting, *self._reading, *members):
                request.end(error)
            self._waiting.clear()
            self._reading.clear()
            self._batches.clear()
