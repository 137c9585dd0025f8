"""The certificates of an installation."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dts.app import pki
from dts.domain.errors import FailedPrecondition, InvalidArgument, NotFound

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_ca_is_made_once(tmp_path):
    made = pki.make_ca(tmp_path / "pki", now=NOW)
    assert made.ca
    assert made.roles == ()
    assert made.not_after == NOW + pki.CA_LIFE
    before = (tmp_path / "pki" / pki.CA_KEY).read_bytes()
    with pytest.raises(FailedPrecondition, match=r"ca\.key exists; `dts pki issue` makes certificates"):
        pki.make_ca(tmp_path / "pki", now=NOW)
    assert (tmp_path / "pki" / pki.CA_KEY).read_bytes() == before


def test_keys_are_for_their_owner_alone(tmp_path):
    pki.make_ca(tmp_path / "pki", now=NOW)
    made = pki.issue(tmp_path / "pki", ["scheduler"], now=NOW)
    assert mode(tmp_path / "pki") == 0o700
    assert mode(tmp_path / "pki" / pki.CA_KEY) == 0o600
    assert mode(made.path) == 0o600


def test_a_certificate_says_what_its_owner_is(tmp_path):
    pki.make_ca(tmp_path, now=NOW)
    made = pki.issue(tmp_path, ["gateway", "definition"], now=NOW, names=["dts.example.org", "10.0.0.5"])
    assert made.path == tmp_path / "definition+gateway.pem"
    assert made.roles == ("definition", "gateway")
    assert made.node == ""
    assert {"dts.example.org", "10.0.0.5", "tasks.gateway", "localhost", "127.0.0.1"} <= set(made.names)
    assert made.not_before < NOW
    assert made.not_after == NOW + pki.LIFE
    assert not made.ca


def test_an_executors_certificate_may_be_for_one_node(tmp_path):
    pki.make_ca(tmp_path, now=NOW)
    made = pki.issue(tmp_path, ["executor"], now=NOW, node="n1", life=timedelta(days=7))
    assert made.path.name == "executor.n1.pem"
    assert made.node == "n1"
    assert made.not_after == NOW + timedelta(days=7)


def test_a_renewed_certificate_keeps_its_names_unless_others_are_given(tmp_path):
    pki.make_ca(tmp_path, now=NOW)
    made = pki.issue(tmp_path, ["gateway"], now=NOW, names=["manager-1", "10.0.0.5"])
    renewed = pki.issue(tmp_path, ["gateway"], now=NOW + timedelta(days=300))
    assert set(renewed.names) == set(made.names)
    moved = pki.issue(tmp_path, ["gateway"], now=NOW, names=["manager-2"])
    assert "manager-2" in moved.names
    assert not {"manager-1", "10.0.0.5"} & set(moved.names)


def test_issuing_again_renews(tmp_path):
    pki.make_ca(tmp_path, now=NOW)
    first = pki.issue(tmp_path, ["scheduler"], now=NOW)
    later = pki.issue(tmp_path, ["scheduler"], now=NOW + timedelta(days=300))
    assert later.path == first.path
    assert pki.read(first.path).not_after == first.not_after + timedelta(days=300)


@pytest.mark.parametrize("roles", [[], ["clerk"], ["scheduler", "clerk"]])
def test_only_roles_get_certificates(tmp_path, roles):
    pki.make_ca(tmp_path, now=NOW)
    with pytest.raises(InvalidArgument, match="is of database, definition, executor, gateway, scheduler"):
        pki.issue(tmp_path, roles, now=NOW)


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_the_life_of_a_certificate_is_bounded(tmp_path, days):
    pki.make_ca(tmp_path, now=NOW)
    with pytest.raises(InvalidArgument, match="is from 1 to 3650"):
        pki.issue(tmp_path, ["scheduler"], now=NOW, life=timedelta(days=days))


@pytest.mark.parametrize("name", ["späte", "a b"])
def test_a_name_that_no_certificate_can_have_is_refused(tmp_path, name):
    pki.make_ca(tmp_path, now=NOW)
    with pytest.raises(InvalidArgument, match="--name: is a host name or an address"):
        pki.issue(tmp_path, ["gateway"], now=NOW, names=[name])


@pytest.mark.parametrize("node", ["", " ", "a b", "späte", "n" * 64])
def test_a_node_is_named_by_its_id(tmp_path, node):
    pki.make_ca(tmp_path, now=NOW)
    if node == "":
        assert pki.issue(tmp_path, ["executor"], now=NOW, node=node).node == ""
        return
    with pytest.raises(InvalidArgument, match="--node: is the id of a node"):
        pki.issue(tmp_path, ["executor"], now=NOW, node=node)


def test_without_a_ca_nothing_is_issued(tmp_path):
    with pytest.raises(NotFound, match=r"there is no CA in .*; `dts pki init` makes one"):
        pki.issue(tmp_path, ["scheduler"], now=NOW)


def test_a_key_of_another_ca_is_refused(tmp_path):
    pki.make_ca(tmp_path / "one", now=NOW)
    pki.make_ca(tmp_path / "two", now=NOW)
    (tmp_path / "one" / pki.CA_KEY).write_bytes((tmp_path / "two" / pki.CA_KEY).read_bytes())
    with pytest.raises(FailedPrecondition, match="is not the key of"):
        pki.issue(tmp_path / "one", ["scheduler"], now=NOW)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe"])
def test_what_is_no_certificate_cannot_be_read(tmp_path, content):
    file = tmp_path / "x.pem"
    file.write_bytes(content)
    with pytest.raises(NotFound, match=r"x\.pem cannot be read: it holds no certificate in PEM"):
        pki.read(file)
