"""What a router decides, without sockets: clients and workers that come, go and say anything."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.dispatch import Dispatcher, PeerBusy, PeerGone
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.errors import Message
from rwkv_rag.types import QueueStatus

CLIENTS = [b"client 0", b"client 1"]
SLOTS = [b"a 0", b"a 1", b"b 0"]  # of the workers a and b
LAST = (message.End, message.Fault)


class Peers:
    """Remembers what was said to whom; those in `gone` cannot be reached."""

    def __init__(self) -> None:
        self.said: dict[bytes, list[Any]] = defaultdict(list)
        self.gone: set[bytes] = set()
        self.full: set[bytes] = set()

    def send(self, identity: bytes, envelope: Any, body: Any = None) -> None:
        if identity in self.gone:
            raise PeerGone
        if identity in self.full:
            raise PeerBusy
        kinds = message.to_client if identity.startswith(b"client") else message.to_worker
        self.said[identity].append(kinds.decode(envelope))

    def heard(self, identity: bytes, kind: type) -> list[Any]:
        return [each for each in self.said[identity] if type(each) is kind]


class Scene:
    """A dispatch with peers; every step is one message."""

    def __init__(self, backlog: int = 256) -> None:
        self.peers = Peers()
        self.dispatch = Dispatcher(
            "s", self.peers, self.peers, backlog=backlog, dead_s=5.0, directory={"s": "x"}
        )

    def say(self, identity: bytes, envelope: Any, body: bytes | None = None) -> None:
        is_client = identity.startswith(b"client")
        receive = self.dispatch.on_client_message if is_client else self.dispatch.on_worker_message
        receive(identity, pack(envelope), body)

    def join(self, identity: bytes) -> None:
        name = identity[:1]
        self.say(identity, message.Join(SCHEMA, name, name.decode(), 4))

    def ask(self, id: int, client: bytes = CLIENTS[0], **changes: Any) -> None:
        given = {"priority": 1, "deadline_s": 60.0, "stream": False, "repeatable": False, **changes}
        request = message.Request(id, SCHEMA, **given, target="t", method="m", bound={})
        self.say(client, request, b"body")

    def answer(self, identity: bytes, id: int) -> None:
        self.say(identity, message.Reply(id, True), b"value")

    def given(self, identity: bytes) -> list[int]:
        return [each.id for each in self.peers.heard(identity, message.Request)]

    def faults(self, client: bytes = CLIENTS[0]) -> list[str]:
        return [each.code for each in self.peers.heard(client, message.Fault)]


def test_the_worker_that_has_worked_least_recently_is_next() -> None:
    scene = Scene()
    for slot in SLOTS:
        scene.join(slot)
    for id in range(4):
        scene.ask(id)
        worker = next(slot for slot in SLOTS if id in scene.given(slot))
        scene.answer(worker, id)
        assert worker[:1] == (b"a", b"b")[id % 2]


def test_who_waits_is_served_by_priority_and_then_by_age() -> None:
    scene = Scene()
    for id, priority in enumerate([2, 1, 0, 2, 1, 0]):
        scene.ask(id, priority=priority)
    scene.join(SLOTS[0])
    for _ in range(6):
        scene.answer(SLOTS[0], scene.given(SLOTS[0])[-1])
    assert scene.given(SLOTS[0]) == [2, 5, 1, 4, 0, 3]


def test_a_full_queue_is_busy_at_once_and_shuts_out_no_other_priority() -> None:
    scene = Scene(backlog=2)
    for id in range(3):
        scene.ask(id, priority=2)
    scene.ask(3, priority=0)
    assert scene.faults() == ["busy"]
    assert scene.dispatch.queue.lengths() == {"chat": 1, "normal": 0, "bulk": 2}


def test_one_connection_can_have_no_more_than_its_share() -> None:
    scene = Scene(backlog=1000)
    for id in range(100):
        scene.ask(id)
    scene.ask(100, CLIENTS[1])
    assert Counter(scene.faults()) == {"busy": 100 - 64}
    assert scene.faults(CLIENTS[1]) == []


def test_a_worker_that_leaves_finishes_and_gets_no_more() -> None:
    scene = Scene()
    for slot in SLOTS[:2]:
        scene.join(slot)
    scene.ask(1)
    (busy,) = (slot for slot in SLOTS[:2] if scene.given(slot))
    scene.say(b"a", message.Heartbeat(SCHEMA, b"a", "a", 4, True, {}))
    scene.ask(2)
    assert [len(scene.peers.heard(slot, message.Goodbye)) for slot in SLOTS[:2]] == [
        int(slot != busy) for slot in SLOTS[:2]
    ]
    scene.answer(busy, 1)
    assert scene.peers.heard(busy, message.Goodbye)
    assert scene.peers.heard(CLIENTS[0], message.Reply) == [message.Reply(1, True)]
    assert scene.dispatch.status().workers == ()
    assert scene.dispatch.status().waiting["normal"] == 1


def test_a_worker_that_was_given_up_can_still_leave() -> None:
    scene = Scene()
    scene.join(SLOTS[0])
    scene.dispatch.remove_silent_workers(float("inf"))
    scene.say(b"a", message.Heartbeat(SCHEMA, b"a", "a", 4, True, {}))
    scene.join(SLOTS[0])
    scene.ask(1)
    assert scene.peers.heard(SLOTS[0], message.Goodbye) and scene.given(SLOTS[0]) == []
    scene.peers.gone.add(b"a")
    scene.dispatch.probe()
    assert scene.dispatch.status().workers == ()


def test_a_worker_of_another_version_is_told_and_gets_nothing() -> None:
    scene = Scene()
    scene.say(SLOTS[0], message.Join(SCHEMA + 1, b"a", "a", 4))
    scene.ask(1)
    (fault,) = scene.peers.heard(SLOTS[0], message.Fault)
    assert fault.code == "bad_message" and "update both" in str(fault.message)
    assert scene.given(SLOTS[0]) == []


def test_a_client_of_another_version_is_told_so() -> None:
    scene = Scene()
    scene.say(CLIENTS[0], message.Hello(SCHEMA + 1))
    assert scene.faults() == ["bad_message"]


def test_credit_and_cancel_reach_only_who_works_on_the_request() -> None:
    scene = Scene()
    scene.join(SLOTS[0])
    scene.ask(1, stream=True)
    scene.say(CLIENTS[1], message.Credit(1, 5))  # it is another's
    scene.say(CLIENTS[1], message.Cancel(1))
    scene.say(CLIENTS[0], message.Credit(1, 7))
    assert [each.count for each in scene.peers.heard(SLOTS[0], message.Credit)] == [7]
    assert scene.peers.heard(SLOTS[0], message.Cancel) == []


def test_a_client_that_reads_nothing_loses_its_request_and_holds_up_nobody() -> None:
    scene = Scene()
    scene.join(SLOTS[0])
    scene.ask(1, stream=True)
    scene.peers.full.add(CLIENTS[0])
    scene.say(SLOTS[0], message.Reply(1, False), b"value")
    assert scene.peers.heard(SLOTS[0], message.Cancel)
    scene.say(SLOTS[0], message.End(1))
    scene.ask(2, CLIENTS[1])
    assert scene.given(SLOTS[0]) == [1, 2]


def test_a_request_that_waited_too_long_hears_whether_there_was_anybody() -> None:
    scene = Scene()
    scene.ask(1, deadline_s=1.0)
    scene.dispatch.expire(scene.dispatch.queue.take().due)
    scene.ask(2, deadline_s=1.0)
    scene.dispatch.expire(float("inf"))
    scene.join(SLOTS[0])
    scene.ask(3)
    scene.ask(4, deadline_s=1.0)
    scene.dispatch.expire(float("inf"))
    texts = [each.message for each in scene.peers.heard(CLIENTS[0], message.Fault)]
    assert [str(text).partition(" was ")[0] for text in texts] == ["no worker of s", "s"]


def test_the_status_travels_and_says_how_it_is() -> None:
    scene = Scene()
    scene.join(SLOTS[0])
    scene.say(b"a", message.Heartbeat(SCHEMA, b"a", "a", 1, False, {"pid": 7, "model": "m"}))
    scene.ask(1)
    scene.answer(SLOTS[0], 1)
    for id in (2, 3, 4):
        scene.ask(id, priority=0)
    status = codec.decode(codec.encode(scene.dispatch.status()), QueueStatus)
    assert (status.served, status.failed, status.in_flight) == (1, 0, 1)
    assert status.waiting == {"chat": 2, "normal": 0, "bulk": 0}
    assert {*status.latency_s} == {"p50", "p95", "p99"}
    (worker,) = status.workers
    assert (worker.name, worker.served, worker.in_flight) == ("a", 1, 1)
    assert worker.facts == {"pid": 7, "model": "m"}


def test_what_is_no_message_is_refused_and_changes_nothing() -> None:
    scene = Scene()
    for data in (b"", b"\xc1", b"\x90", b"\x92\x02\x01", pack([99, 1])):
        with pytest.raises((msgspec.MsgspecError, ValueError)):
            scene.dispatch.on_client_message(CLIENTS[0], data, None)
        with pytest.raises((msgspec.MsgspecError, ValueError)):
            scene.dispatch.on_worker_message(SLOTS[0], data, None)
    assert not scene.peers.said


class Anything(RuleBasedStateMachine):
    """Whoever comes, goes and says what: the promises hold after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(backlog=3)
        self.asked: dict[int, bytes] = {}
        self.cancelled: set[int] = set()
        self.next_id = 0

    @rule(client=st.sampled_from(CLIENTS), repeatable=st.booleans(), priority=st.integers(0, 2))
    def ask(self, client: bytes, repeatable: bool, priority: int) -> None:
        if client in self.scene.peers.gone:
            return
        self.next_id += 1
        self.asked[self.next_id] = client
        self.scene.ask(self.next_id, client, repeatable=repeatable, priority=priority)

    @rule(slot=st.sampled_from(SLOTS))
    def join(self, slot: bytes) -> None:
        self.scene.peers.gone.discard(slot)
        self.scene.join(slot)

    @rule(slot=st.sampled_from(SLOTS), how=st.sampled_from(["value", "last", "fault", "end"]))
    def say(self, slot: bytes, how: str) -> None:
        """To what it was given last, even if that is over or was never its own."""
        given = self.scene.given(slot)
        id = given[-1] if given else 1
        envelopes = {
            "value": message.Reply(id, False),
            "last": message.Reply(id, True),
            "fault": message.Fault(id, "input", Message("no")),
            "end": message.End(id),
        }
        self.scene.say(slot, envelopes[how], b"x")

    @rule(client=st.sampled_from(CLIENTS), id=st.integers(1, 30))
    def cancel(self, client: bytes, id: int) -> None:
        if self.asked.get(id) == client:
            self.cancelled.add(id)
        self.scene.say(client, message.Cancel(id))

    @rule(peer=st.sampled_from(CLIENTS + SLOTS))
    def vanish(self, peer: bytes) -> None:
        self.scene.peers.gone.add(peer)
        self.scene.dispatch.probe()

    @rule(client=st.sampled_from(CLIENTS))
    def come_back(self, client: bytes) -> None:
        """Under the same name: only what it asks from now on is its own."""
        for id, asker in self.asked.items():
            if asker == client and client in self.scene.peers.gone:
                self.cancelled.add(id)
        self.scene.peers.gone.discard(client)

    @rule()
    def fall_silent(self) -> None:
        self.scene.dispatch.remove_silent_workers(float("inf"))

    @invariant()
    def nothing_is_answered_twice(self) -> None:
        for client in CLIENTS:
            ends = Counter(
                each.id
                for each in self.scene.peers.said[client]
                if type(each) in LAST or (type(each) is message.Reply and each.last)
            )
            assert all(count == 1 for count in ends.values()), ends
            assert {self.asked[id] for id in ends} <= {client}

    @invariant()
    def every_request_is_somewhere_or_over(self) -> None:
        dispatch = self.scene.dispatch
        waiting = {each.message.id for each in dispatch.queue}
        working = {
            slot.request.message.id for slot in dispatch.workers.slots.values() if slot.request
        }
        over = {
            each.id
            for client in CLIENTS
            for each in self.scene.peers.said[client]
            if type(each) in LAST or (type(each) is message.Reply and each.last)
        }
        assert not waiting & working and not (waiting | working) & over
        gone = {id for id, asker in self.asked.items() if asker in self.scene.peers.gone}
        assert {*self.asked} == waiting | working | over | self.cancelled | gone
        assert sum(len(each) for each in dispatch._requests.values()) == len(waiting | working)

    @invariant()
    def nobody_waits_while_somebody_is_free(self) -> None:
        dispatch = self.scene.dispatch
        free = [slot for worker in dispatch.workers for slot in worker.free]
        assert not (free and len(dispatch.queue))
        assert all(
            slot.request_id is None and slot.identity in dispatch.workers.slots for slot in free
        )


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
