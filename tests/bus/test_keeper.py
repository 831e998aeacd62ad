"""The keeper's thread works until it is stopped or its owner is forgotten."""

from __future__ import annotations

import gc
import threading
import time

from rwkv_rag.bus.keeper import Keeper


class Owner:
    def __init__(self) -> None:
        self.looked = threading.Event()
        self.keeper = Keeper(self.look, 0.01)

    def look(self) -> None:
        self.looked.set()


def keepers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "keeper"]


def gone(before: int) -> bool:
    until = time.monotonic() + 5
    while len(keepers()) > before and time.monotonic() < until:
        time.sleep(0.005)
    return len(keepers()) <= before


def test_it_looks_again_and_again_until_it_is_stopped() -> None:
    before, owner = len(keepers()), Owner()
    owner.keeper.start()
    owner.keeper.start()
    assert len(keepers()) == before + 1
    for _ in range(2):
        assert owner.looked.wait(5)
        owner.looked.clear()
    owner.keeper.stop()
    assert gone(before)


def test_it_ends_with_its_owner() -> None:
    before, owner = len(keepers()), Owner()
    owner.keeper.start()
    assert owner.looked.wait(5)
    del owner
    gc.collect()
    assert gone(before)
