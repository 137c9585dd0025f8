"""What a process hosts, where it listens, and what it needs of others."""

from __future__ import annotations

import pytest

from dts.app.wiring import GRPC, HTTP, ROLES, Wiring, in_the_clear, missing_peers, parse_address, parse_roles
from dts.domain.errors import InvalidArgument
from dts.rpc.address import HostPort
from dts.settings import Settings

EVERY_PEER = {f"DTS_{role}_ADDR": "10.0.0.1:7461" for role in ("DATABASE", "DEFINITION", "SCHEDULER")}


def wiring(*roles: str, grpc: str = "127.0.0.1:7461", http: str = "127.0.0.1:7462", **environment: str) -> Wiring:
    return Wiring(
        settings=Settings.from_env(environment),
        roles=frozenset(roles),
        grpc=HostPort.parse(grpc),
        http=HostPort.parse(http),
        token="t",
    )


@pytest.mark.parametrize(
    ("given", "roles"),
    [
        (["scheduler"], {"scheduler"}),
        (["scheduler,executor"], {"scheduler", "executor"}),
        (["scheduler", " executor , scheduler"], {"scheduler", "executor"}),
        ([",".join(ROLES)], set(ROLES)),
    ],
)
def test_roles_are_given_with_commas_or_several_times(given, roles):
    assert parse_roles(given) == roles


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([], "none is given"),
        ([" , "], "none is given"),
        (["clerk"], "clerk is not known"),
        (["scheduler,zeta,alpha"], "alpha, zeta is not known"),
    ],
)
def test_a_role_that_does_not_exist_is_refused_with_those_that_do(given, why):
    with pytest.raises(InvalidArgument, match=f"role: {why}; there are definition, scheduler, executor, database"):
        parse_roles(given)


def test_an_address_is_read_or_the_default():
    assert parse_address(None, GRPC, field_name="grpc") is GRPC
    assert parse_address("0.0.0.0:80", GRPC, field_name="grpc") == HostPort("0.0.0.0", 80)
    with pytest.raises(InvalidArgument, match="http: 'nonsense' is no address"):
        parse_address("nonsense", HTTP, field_name="http")


@pytest.mark.parametrize(
    ("roles", "missing"),
    [
        (["database"], []),
        (["definition"], ["DTS_DATABASE_ADDR"]),
        (["scheduler"], ["DTS_DATABASE_ADDR"]),
        (["executor"], ["DTS_SCHEDULER_ADDR", "DTS_DATABASE_ADDR"]),
        (["gateway"], ["DTS_DEFINITION_ADDR", "DTS_SCHEDULER_ADDR", "DTS_DATABASE_ADDR"]),
        (["scheduler", "executor"], ["DTS_DATABASE_ADDR"]),
        (["database", "definition", "scheduler", "gateway"], []),
        (list(ROLES), []),
    ],
)
def test_a_process_needs_the_roles_that_its_own_call_and_that_it_does_not_host(roles, missing):
    assert missing_peers(wiring(*roles)) == missing
    assert missing_peers(wiring(*roles, **EVERY_PEER)) == []


@pytest.mark.parametrize(
    ("host", "elsewhere"),
    [
        ("127.0.0.1:1", False),
        ("127.8.0.1:1", False),
        ("[::1]:1", False),
        ("localhost:1", False),
        ("0.0.0.0:1", True),
        ("10.0.0.1:1", True),
        ("[::]:1", True),
        ("db:1", True),
        ("dns:tasks.database:1", True),
    ],
)
def test_only_loopback_may_be_in_the_clear(host, elsewhere):
    assert in_the_clear(wiring("database", grpc=host)) == ([f"--grpc {host}"] if elsewhere else [])
    peer = wiring("scheduler", DTS_DATABASE_ADDR=host)
    assert in_the_clear(peer) == ([f"DTS_DATABASE_ADDR {host}"] if elsewhere else [])


def test_the_health_pages_matter_where_they_are_served():
    assert in_the_clear(wiring("database", http="0.0.0.0:7462")) == []
    peers = dict.fromkeys(EVERY_PEER, "127.0.0.1:1")
    assert in_the_clear(wiring("gateway", http="0.0.0.0:7462", **peers)) == ["--http 0.0.0.0:7462"]


def test_an_address_of_a_role_that_is_hosted_here_does_not_matter():
    assert in_the_clear(wiring("database", "scheduler", DTS_DATABASE_ADDR="db:1")) == []


def test_secrets_are_not_shown():
    shown = wiring("database", DTS_DSN="postgresql://u:geheim@h/d", DTS_TOKEN="verborgen" * 4)
    assert "geheim" not in repr(shown)
    assert "verborgen" not in repr(shown)
