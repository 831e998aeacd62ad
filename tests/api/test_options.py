"""The token: made once, kept for its owner only."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rwkv_rag.api.options import home_token, read_token, token_file
from rwkv_rag.errors import InputError

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@posix
def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with ThreadPoolExecutor(8) as pool:
        tokens = {*pool.map(lambda _: home_token(home), range(8))}
    (token,) = tokens
    assert len(token) >= 32
    path = token_file(home)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["api.token"]
    assert home_token(home) == token == read_token(path)
    assert home_token(tmp_path / "other") != token


@posix
def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    home_token(tmp_path)
    token_file(tmp_path).chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        home_token(tmp_path)


def test_what_is_no_token_file_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    with pytest.raises(InputError, match="is empty"):
        read_token(empty)
    with pytest.raises(InputError, match="cannot be used as the token"):
        read_token(tmp_path / "none")
    (tmp_path / "keys").write_text("a file in the way")
    with pytest.raises(InputError, match="cannot be used as the token"):
        home_token(tmp_path)
