"""What is sealed opens with the same key for the same channel, and otherwise never."""

from __future__ import annotations

import base64

import pytest

from dts.domain.errors import FailedPrecondition
from dts.domain.seal_keys import KEY_BYTES, keys_of, new_key_line
from dts.pb.dts.v1 import ChannelSecrets
from dts.roles.scheduler.seal import Seal
from dts.runtime import clock

SECRETS = ChannelSecrets(target="https://hooks.example.com/s3cret", signing_key=b"k" * 32)
OLD, NEW = b"o" * KEY_BYTES, b"n" * KEY_BYTES


def seal(*keys: bytes) -> Seal:
    return Seal(keys, clock.random_bits)


def test_what_was_sealed_shows_nothing_and_opens_again() -> None:
    sealed = seal(OLD).closed("a", SECRETS)
    assert b"s3cret" not in sealed
    assert b"kkkk" not in sealed
    assert seal(OLD).opened("a", sealed) == SECRETS


def test_the_same_is_never_sealed_the_same_way() -> None:
    assert seal(OLD).closed("a", SECRETS) != seal(OLD).closed("a", SECRETS)


def test_the_first_key_closes_and_each_opens() -> None:
    before, after = seal(OLD).closed("a", SECRETS), seal(NEW, OLD).closed("a", SECRETS)
    assert seal(NEW, OLD).opened("a", before) == seal(NEW).opened("a", after) == SECRETS


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_without_its_key_it_stays_closed(keys: tuple[bytes, ...]) -> None:
    sealed = seal(OLD).closed("a", SECRETS)
    with pytest.raises(FailedPrecondition, match="does not have"):
        seal(*keys).opened("a", sealed)


def test_it_opens_for_no_other_channel() -> None:
    sealed = seal(OLD).closed("a", SECRETS)
    with pytest.raises(FailedPrecondition, match="not what was sealed"):
        seal(OLD).opened("b", sealed)


def test_whatever_byte_is_changed_or_missing_it_does_not_open() -> None:
    sealed = seal(OLD).closed("a", SECRETS)
    changed = [sealed[:at] + bytes([sealed[at] ^ 2]) + sealed[at + 1 :] for at in range(len(sealed))]
    for other in (*changed, *(sealed[:length] for length in range(len(sealed)))):
        with pytest.raises(FailedPrecondition):
            seal(OLD).opened("a", other)


def test_what_was_made_before_there_were_seals_is_read() -> None:
    plain = b"\x00" + SECRETS.signing_key + SECRETS.target.encode()
    assert seal().opened("a", plain) == SECRETS


def test_without_a_key_nothing_is_closed_and_the_refusal_says_what_to_do() -> None:
    with pytest.raises(FailedPrecondition, match=r"DTS_SEAL_KEY_FILE .*openssl rand -base64 32"):
        seal().closed("a", SECRETS)


def test_a_file_holds_keys_line_by_line() -> None:
    text = "".join(base64.b64encode(key).decode() + "\n" for key in (NEW, OLD))
    assert keys_of(text) == (NEW, OLD)
    (made,) = keys_of(new_key_line(clock.random_bits))
    assert len(made) == KEY_BYTES


@pytest.mark.parametrize("line", ["s3cret", base64.b64encode(b"k" * 16).decode(), "=" * 44])
def test_a_line_that_is_no_key_is_refused_and_not_shown(line: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32") as refused:
        keys_of(new_key_line(clock.random_bits) + line)
    assert line not in str(refused.value)
