"""The values of one call as they come, a window of them ahead. Knows no socket."""

from __future__ import annotations

import time
from typing import Any, Protocol

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.connection import Closed
from rwkv_rag.bus.line import GRACE_S, Forgotten, Late, Line, Stopped
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import BadMessage, RagError

HALF = message.WINDOW // 2


class Lines(Protocol):
    """Where the stream's connection goes at its end, and what is said of how it ended."""

    def give_back(self, line: Line) -> None: ...

    def cancel(self, line: Line, id: int) -> None: ...

    def failure(self, error: Exception, call: Call) -> RagError: ...


class Stream:
    """Any thread may fetch, one at a time; any may close it, which cancels the call."""

    def __init__(self, lines: Lines, line: Line, id: int, call: Call) -> None:
        self._lines, self._id, self._call = lines, id, call
        self._line: Line | None = line
        self._credit = 0

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        line = self._line
        if line is None:
            raise StopIteration
        try:
            with line.turn:
                if self._credit <= HALF:
                    line.grant(self._id, message.WINDOW - self._credit)
                    self._credit = message.WINDOW
                until = time.monotonic() + self._call.deadline_s + GRACE_S
                said, body = line.wait(self._id, until)
            return self._value(line, said, body)
        except (Forgotten, Closed, Late) as error:
            self._end(line, cancel=True)
            raise self._lines.failure(error, self._call) from None
        except Stopped:
            self._end(line, cancel=True)
            raise StopIteration from None
        except BaseException:  # Ctrl-C, a message that cannot be read
            self._end(line, cancel=True)
            raise

    def _value(self, line: Line, said: Any, body: codec.Data) -> Any:
        if type(said) is message.Reply:
            self._credit -= 1
            if line.stopped:
                raise Stopped
            return codec.decode(body, self._call.returns)
        self._end(line)
        if type(said) is message.End:
            raise StopIteration
        if type(said) is message.Fault:
            raise codec.raised(said.code, said.message)
        raise BadMessage(
            "{method} answered out of turn: {name}",
            method=self._call.method,
            name=type(said).__name__,
        )

    def close(self) -> None:
        """Cancel the call if it is not over; a thread that waits for a value is told to stop."""
        line = self._line
        if line is None:
            return
        line.stopped = True
        if line.turn.acquire(blocking=False):
            line.turn.release()
            self._end(line, cancel=True)

    __del__ = close

    def _end(self, line: Line, *, cancel: bool = False) -> None:
        if self._line is None:
            return
        self._line = None
        if cancel:
            self._lines.cancel(line, self._id)
        else:
            self._lines.give_back(line)
