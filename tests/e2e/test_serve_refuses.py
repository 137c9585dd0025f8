"""What `dts serve` does not start with, and how it says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dts.app.pki import CA, issue, make_ca
from support.system import run_dts

NOW = datetime.now(UTC)
PEERS = {f"DTS_{role}_ADDR": "127.0.0.1:1" for role in ("DATABASE", "DEFINITION", "SCHEDULER")}
TOKEN = {"DTS_TOKEN": "geheim" * 6}


@pytest.fixture
def pki(tmp_path):
    make_ca(tmp_path, now=NOW)
    issue(tmp_path, ["scheduler"], now=NOW)
    return tmp_path


def certified(pki, owner="scheduler"):
    return {"DTS_TLS_CA": str(pki / CA), "DTS_TLS_CERT": str(pki / f"{owner}.pem")}


async def refused(environment: dict[str, str], *arguments: str) -> str:
    """The error of a process that does not start."""
    done = await run_dts("serve", *arguments, environment={"DTS_DATA": "/nonexistent", **environment})
    assert done.code in {1, 2}, done
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "geheim" not in done.err
    return done.err


async def test_nobody_starts_without_credentials():
    said = await refused(PEERS, "--role", "scheduler")
    assert said.startswith("error: DTS_TLS_CERT: is not set, nor is DTS_TOKEN")
    assert "dts pki init" in said


@pytest.mark.parametrize(
    ("roles", "environment", "arguments", "exposed"),
    [
        ("scheduler", {}, ("--grpc", "0.0.0.0:0"), "--grpc 0.0.0.0:0"),
        ("gateway", {}, ("--http", "0.0.0.0:0"), "--http 0.0.0.0:0"),
        ("scheduler", {"DTS_DATABASE_ADDR": "10.0.0.1:7461"}, (), "DTS_DATABASE_ADDR 10.0.0.1:7461"),
    ],
)
async def test_nothing_is_said_in_the_clear_to_another_machine(roles, environment, arguments, exposed):
    said = await refused({**PEERS, **TOKEN, **environment}, "--role", roles, *arguments)
    assert said.startswith("error: DTS_TLS_CERT: is not set: everybody on the way could read")
    assert exposed in said
    assert "DTS_INSECURE=1" in said


async def test_a_certificate_of_another_role_is_refused(pki):
    said = await refused({**PEERS, **certified(pki)}, "--role", "scheduler,definition")
    assert "DTS_TLS_CERT: is a certificate of scheduler; this process also hosts definition" in said


async def test_an_expired_certificate_is_refused(pki):
    issue(pki, ["scheduler"], now=NOW - timedelta(days=3), life=timedelta(days=2))
    said = await refused({**PEERS, **certified(pki)}, "--role", "scheduler")
    assert "DTS_TLS_CERT: is a certificate that expired at" in said


async def test_a_certificate_needs_its_ca(pki):
    said = await refused({**PEERS, "DTS_TLS_CERT": str(pki / "scheduler.pem")}, "--role", "scheduler")
    assert "DTS_TLS_CA: names the file with the CA" in said


async def test_a_certificate_that_is_not_there_is_named(pki):
    said = await refused({**PEERS, **certified(pki, "nobody")}, "--role", "scheduler")
    assert "nobody.pem" in said
    assert "No such file or directory" in said


async def test_the_roles_that_are_missing_are_named():
    said = await refused(TOKEN, "--role", "gateway")
    for name in PEERS:
        assert f"error: {name}: is not set, and the role is not hosted here" in said


async def test_a_policy_that_is_none_keeps_an_executor_from_starting(tmp_path):
    policy = tmp_path / "policy.yml"
    policy.write_text("image: [alpine]")
    environment = {**PEERS, **TOKEN, "DTS_POLICY_FILE": str(policy), "DTS_DATA": str(tmp_path / "data")}
    said = await refused(environment, "--role", "executor", "--grpc", "127.0.0.1:0")
    assert "policy.yml: image: is no key; did you mean images?" in said
