"""Many answers from one model at once: all that are being written take each step in one batch.

One thread runs the model. Requests join when their prompt has been read and leave when they have
ended, failed or been abandoned; long prompts are read in pieces, one between any two steps, so that
nobody's stream stops for another's prompt. Requests of one model (or view of it) share a batch;
those of different views take turns. Knows neither names of models nor files.

    round: a step of every batch, then a piece of one prompt
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from rwkv_rag.errors import Busy
from rwkv_rag.rwkv.batch import Batch
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.writing import Writing
from rwkv_rag.rwkv.x070 import X070
from rwkv_rag.types import Delta

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

AT_ONCE = 16  # requests being read or written; each holds a state in memory
WAITING = 64  # requests that may wait for a place; more are told to come back
PIECE_TOKENS = 256  # of a prompt, read between two steps of others
ALONE_TOKENS = 1024  # of a prompt, read while nobody else waits for a token
IDLE_S = 5.0  # without requests the thread ends after so long


@dataclass(eq=False)
class Request:
    """One answer wanted of `model`, which reads on from `state` (None: from nothing)."""

    model: X070
    state: State | None
    writing: Writing
    out: SimpleQueue[Delta | BaseException] = field(default_factory=SimpleQueue)
    read: int = 0  # tokens of the prompt
    over: bool = False

    def end(self, last: Delta | BaseException) -> None:
        """Nothing more comes after `last`."""
        self.over = True
        self.out.put(last)


class Scheduler:
    """Runs requests together. `run` may be called from any number of threads."""

    def __init__(self, numbers: Callable[[torch.Tensor], NDArray[np.float32]]) -> None:
        """`numbers` turns logits (B, V) into what a `Writing` takes a row of."""
        self._numbers = numbers
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._thread: threading.Thread | None = None
        self._closing = False
        # What follows belongs to the thread.
        self._reading: deque[Request] = deque()
        self._batches: dict[X070, Batch[Request]] = {}

    def run(self, request: Request) -> Iterator[Delta]:
        """The deltas of a request, which begins with the first of them. Busy if too many wait.

        It is written on whether or not they are fetched, up to its end; closing the iterator ends
        it at once.
        """
        self._submit(request)
        try:
            while not isinstance(piece := request.out.get(), BaseException):
                yield piece
                if piece.finish:
                    return
            raise piece
        finally:
            self._abandon(request)

    def close(self) -> None:
        """End the thread; requests that are not finished fail."""
        with self._changed:
            self._closing, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _submit(self, request: Request) -> None:
        with self._changed:
            if len(self._waiting) >= WAITING:
                raise Busy(
                    "{waiting} answers are waiting already; ask again in a moment", waiting=WAITING
                )
            self._waiting.append(request)
            if self._thread is None:
                self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        self._closing = False
        # A daemon, so that nobody waits for it; but Python must not end while it runs the model.
        self._thread = threading.Thread(target=self._serve, name="rwkv-engine", daemon=True)
        atexit.register(self.close)
        self._thread.start()

    def _abandon(self, request: Request) -> None:
        with self._changed:
            request.over = True
            if request in self._waiting:
                self._waiting.remove(request)

    def _serve(self) -> None:
        try:
            while self._admitted():
                self._round()
        except BaseException as error:  # nobody may wait for ever
            self._give_up(error)

    def _admitted(self) -> bool:
        """Take in requests. False once there were none for a while: then the thread is given up."""
        with self._changed:
            if not self._reading and not self._batches:
                self._changed.wait_for(lambda: self._waiting or self._closing, IDLE_S)
            busy = len(self._reading) + sum(len(each.members) for each in self._batches.values())
            while self._waiting and busy < AT_ONCE:
                self._reading.append(self._waiting.popleft())
                busy += 1
            if busy and not self._closing:
                return True
            self._give_up(Busy("the program is ending; ask again when it has started anew"))
            return False

    def _round(self) -> None:
        for model, batch in list(self._batches.items()):
            self._step(batch)
            if not batch.members:
                del self._batches[model]
        if self._reading:
            self._read(self._reading.popleft())

    def _step(self, batch: Batch[Request]) -> None:
        try:
            rows = self._numbers(batch.step([each.writing.token for each in batch.members]))
        except Exception as error:
            for request in batch.members:
                request.end(error)
        else:
            for request, row in zip(batch.members, rows, strict=True):
                self._push(request, row)
        batch.leave(lambda request: request.over)

    def _read(self, request: Request) -> None:
        """Read a piece of a prompt; after the last one the request is written."""
        if request.over:
            return
        size = PIECE_TOKENS if self._batches or self._reading else ALONE_TOKENS
        ids = request.writing.ids
        piece = ids[request.read : request.read + size]
        request.read += len(piece)
        last = request.read == len(ids)
        try:
            output = request.model.forward([piece], request.state, logits=last)
            request.state = output.state
            if not last:
                self._reading.append(request)
                return
            row = self._numbers(output.logits)[0]
        except Exception as error:
            request.end(error)
        else:
            self._push(request, row)
            if not request.over:
                self._join(request, output.state)

    def _join(self, request: Request, state: State) -> None:
        if request.model not in self._batches:
            self._batches[request.model] = Batch(request.model)
        self._batches[request.model].join(request, state)
        request.state = None

    def _push(self, request: Request, row: NDArray[np.float32]) -> None:
        """Write one token on; what fails here fails for this request only."""
        try:
            if text := request.writing.push(row):
                request.out.put(Delta(text))
            if request.writing.ended:
                request.end(request.writing.close())
        except Exception as error:
            request.end(error)

    def _give_up(self, error: BaseException) -> None:
        """The thread ends; whoever still waits for it gets `error`."""
        with self._changed:
            self._thread = None
            atexit.unregister(self.close)
            members = [each for batch in self._batches.values() for each in batch.members]
            for request in (*self._waiting, *self._reading, *members):
                request.end(error)
            self._waiting.clear()
            self._reading.clear()
            self._batches.clear()
