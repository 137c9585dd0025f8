"""What `dts dev` leaves for the command line of the same user."""

from __future__ import annotations

import json
import stat

import pytest

from dts.app import credentials
from dts.app.credentials import FILE, SEAL_KEYS, Credentials
from dts.domain.errors import FailedPrecondition
from dts.runtime import clock

LEFT = Credentials(server="127.0.0.1:7461", token="geheim", dsn="postgresql:///dts")


def test_what_is_written_is_read(tmp_path):
    credentials.write(tmp_path, LEFT)
    assert credentials.read(tmp_path) == LEFT


def test_it_is_for_the_owner_alone_whatever_was_there_before(tmp_path):
    for name in (FILE, "client.new"):
        (tmp_path / name).write_text("{}")
        (tmp_path / name).chmod(0o644)
    credentials.write(tmp_path, LEFT)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_who_dies_while_writing_leaves_what_was_there(tmp_path, monkeypatch):
    credentials.write(tmp_path, LEFT)

    def died(_handle: int) -> None:
        raise OSError("no more")

    monkeypatch.setattr("os.fsync", died)
    with pytest.raises(OSError, match="no more"):
        credentials.write(tmp_path, Credentials("other", "other", "other"))
    assert credentials.read(tmp_path) == LEFT


def test_the_key_that_seals_is_made_once_for_the_owner_alone(tmp_path):
    home = tmp_path / "new"
    keys = credentials.seal_keys(home, clock.random_bits)
    assert [len(key) for key in keys] == [32]
    assert credentials.seal_keys(home, clock.random_bits) == keys
    assert stat.S_IMODE((home / SEAL_KEYS).stat().st_mode) == 0o600


def test_a_file_of_keys_that_was_broken_is_refused_and_kept(tmp_path):
    (tmp_path / SEAL_KEYS).write_text("s3cret")
    with pytest.raises(FailedPrecondition, match=SEAL_KEYS) as refused:
        credentials.seal_keys(tmp_path, clock.random_bits)
    assert "s3cret" not in str(refused.value)
    assert (tmp_path / SEAL_KEYS).read_text() == "s3cret"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"server": "x"}', json.dumps({"token": "x", "dsn": "y"}).encode()],
)
def test_what_cannot_be_read_is_as_if_nothing_were_there(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert credentials.read(tmp_path) is None


def test_nothing_is_there(tmp_path):
    assert credentials.read(tmp_path / "nowhere") is None


def test_secrets_are_not_shown():
    assert "geheim" not in repr(LEFT)
    assert "postgresql" not in repr(LEFT)
