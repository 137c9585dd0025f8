"""Mutual TLS over real sockets: who gets in, who is taken for whom, and certificates that change."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from dts.app.pki import CA, issue, make_ca
from dts.domain.access import Peer
from dts.domain.errors import FailedPrecondition, Unauthenticated, Unavailable
from dts.pb.dts.v1 import GetStatusRequest, GetStatusResponse, PartStatus, SchedulerServiceBase, SchedulerServiceStub
from dts.rpc.address import HostPort
from dts.rpc.caller import current
from dts.rpc.channel import connect
from dts.rpc.gate import Gate
from dts.rpc.stubs import stub
from dts.rpc.tls import CallerTls, Tls, TlsFiles, named, people
from support.rpc import LOOPBACK, TOKEN, serving_tls

NOW = datetime.now(UTC)
ROUTE = "/dts.v1.SchedulerService/GetStatus"


class WhoCalls(SchedulerServiceBase):
    """Answers a caller with what it is taken for."""

    async def get_status(self, message: GetStatusRequest) -> GetStatusResponse:  # noqa: ARG002 - the shape of it
        caller = current()
        return GetStatusResponse(parts=[PartStatus(part=caller.name, detail=caller.node)])


@pytest.fixture
def pki(tmp_path) -> Path:
    make_ca(tmp_path, now=NOW)
    for role in ("database", "scheduler", "gateway", "executor"):
        issue(tmp_path, [role], now=NOW)
    return tmp_path


def tls(pki: Path, owner: str) -> Tls:
    return Tls(TlsFiles(pki / CA, pki / f"{owner}.pem"))


@asynccontextmanager
async def scheduler(pki: Path, owner: str = "scheduler", *, strangers: bool = False) -> AsyncIterator[int]:
    async with serving_tls(WhoCalls(), gate=Gate(TOKEN), tls=tls(pki, owner).server(strangers=strangers)) as port:
        yield port


async def ask(port: int, caller: CallerTls | None, token: str | None = None) -> PartStatus:
    with closing(connect([HostPort(LOOPBACK, port)], token=token, tls=caller)) as channel:
        (part,) = (await stub(SchedulerServiceStub, channel).get_status(GetStatusRequest())).parts
        return part


async def test_a_role_is_known_by_its_certificate(pki):
    async with scheduler(pki) as port:
        assert (await ask(port, tls(pki, "gateway").caller("scheduler"))).part == "gateway"


async def test_a_node_is_known_by_its_certificate(pki):
    issue(pki, ["gateway"], node="n1", now=NOW)
    async with scheduler(pki) as port:
        assert (await ask(port, tls(pki, "gateway.n1").caller("scheduler"))).detail == "n1"


async def test_who_has_no_certificate_does_not_get_in_even_with_the_token(pki):
    async with scheduler(pki) as port:
        with pytest.raises(Unavailable, match="closed without a word"):
            await ask(port, people_at(pki), TOKEN)


async def test_who_speaks_in_the_clear_does_not_get_in(pki):
    async with scheduler(pki, strangers=True) as port:
        with pytest.raises(Unavailable, match="closed without a word"):
            await ask(port, None, TOKEN)


async def test_a_caller_with_tls_says_so_when_the_server_has_none(pki):
    async with serving_tls(WhoCalls(), gate=Gate(TOKEN), tls=None) as port:
        with pytest.raises(Unavailable, match="it does not speak TLS"):
            await ask(port, tls(pki, "gateway").caller("scheduler"))


async def test_a_certificate_of_another_ca_does_not_get_in(pki, tmp_path):
    make_ca(tmp_path / "other", now=NOW)
    issue(tmp_path / "other", ["gateway"], now=NOW)
    files = TlsFiles(pki / CA, tmp_path / "other" / "gateway.pem")
    async with scheduler(pki) as port:
        with pytest.raises(Unavailable, match="closed without a word"):
            await ask(port, Tls(files).caller("scheduler"))


async def test_an_expired_certificate_does_not_get_in(pki):
    issue(pki, ["gateway"], now=NOW - timedelta(days=10), life=timedelta(days=9))
    async with scheduler(pki) as port:
        with pytest.raises(Unavailable, match="closed without a word"):
            await ask(port, tls(pki, "gateway").caller("scheduler"))


async def test_a_server_of_another_ca_is_not_believed(pki, tmp_path):
    make_ca(tmp_path / "other", now=NOW)
    issue(tmp_path / "other", ["scheduler"], now=NOW)
    async with scheduler(tmp_path / "other") as port:
        with pytest.raises(Unavailable, match="its certificate is not to be trusted"):
            await ask(port, tls(pki, "gateway").caller("scheduler"))


async def test_an_executor_cannot_pass_for_the_database(pki):
    async with scheduler(pki, "executor") as port:
        with pytest.raises(Unavailable, match="the certificate is of executor, not of the role database"):
            await ask(port, tls(pki, "scheduler").caller("database"))


def people_at(pki: Path) -> CallerTls:
    own = people(str(pki / CA))
    return CallerTls(own.context, lambda _certificate: None)


async def test_people_come_to_the_gateway_with_a_token(pki):
    async with scheduler(pki, "gateway", strangers=True) as port:
        assert (await ask(port, people(str(pki / CA)), TOKEN)).part == "operator"
        with pytest.raises(Unauthenticated, match="no token was sent"):
            await ask(port, people(str(pki / CA)))


async def test_people_do_not_take_another_role_for_the_gateway(pki):
    async with scheduler(pki, "executor", strangers=True) as port:
        with pytest.raises(Unavailable, match="the certificate is of executor, not of the role gateway"):
            await ask(port, people(str(pki / CA)), TOKEN)


async def test_a_name_that_this_machine_does_not_trust_is_not_believed(pki):
    async with scheduler(pki, "gateway", strangers=True) as port:
        with pytest.raises(Unavailable, match="its certificate is not to be trusted"):
            await ask(port, people("system"), TOKEN)


async def test_googles_client_believes_the_names_of_a_certificate(pki):
    issue(pki, ["gateway"], now=NOW, names=["dts.example.org"])
    trusted = grpc.ssl_channel_credentials((pki / CA).read_bytes())
    async with scheduler(pki, "gateway", strangers=True) as port:
        for options in ((), (("grpc.ssl_target_name_override", "dts.example.org"),)):
            async with grpc.aio.secure_channel(f"localhost:{port}", trusted, options=options) as channel:
                call = channel.unary_unary(ROUTE)
                answer = await call(b"", metadata=(("authorization", f"Bearer {TOKEN}"),))
                assert b"operator" in answer


async def test_a_renewed_certificate_counts_without_a_restart(pki):
    caller = tls(pki, "gateway").caller("scheduler")
    async with scheduler(pki) as port:
        await ask(port, caller)
        before = await shown(pki, port)
        issue(pki, ["scheduler"], now=NOW)
        assert await shown(pki, port) != before
        assert (await ask(port, caller)).part == "gateway"


async def test_a_ca_can_be_replaced_without_a_restart(pki, tmp_path):
    caller = tls(pki, "gateway").caller("scheduler")
    new = tmp_path / "new"
    make_ca(new, now=NOW)
    async with scheduler(pki) as port:
        await ask(port, caller)
        for role in ("scheduler", "gateway"):
            issue(new, [role], now=NOW)
            (new / f"{role}.pem").replace(pki / f"{role}.pem")
        old_ca = (pki / CA).read_bytes()
        (pki / CA).write_bytes((new / CA).read_bytes())
        assert (await ask(port, caller)).part == "gateway"
        (pki / "old.pem").write_bytes(old_ca)
        issued_by_the_old = Tls(TlsFiles(pki / CA, pki / "executor.pem")).caller("scheduler")
        with pytest.raises(Unavailable, match="closed without a word"):
            await ask(port, issued_by_the_old)


async def test_half_written_files_leave_the_certificates_as_they_were(pki, caplog):
    caller = tls(pki, "gateway").caller("scheduler")
    async with scheduler(pki) as port:
        good = (pki / "scheduler.pem").read_bytes()
        (pki / "scheduler.pem").write_bytes(good[:100])
        assert (await ask(port, caller)).part == "gateway"
        assert "the certificates read before stay in use" in caplog.text
        (pki / "scheduler.pem").unlink()
        assert (await ask(port, caller)).part == "gateway"


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_files_that_are_no_certificates_are_refused_at_the_start(pki, content):
    (pki / "scheduler.pem").write_bytes(content)
    with pytest.raises(FailedPrecondition, match=r"the certificates cannot be used \(.*scheduler\.pem\): no pem"):
        tls(pki, "scheduler")


def test_a_file_that_is_not_there_is_named(pki):
    with pytest.raises(FailedPrecondition, match=r"nobody\.pem\): No such file or directory"):
        tls(pki, "nobody")
    with pytest.raises(FailedPrecondition, match=r"DTS_TLS_CA names a file that holds no certificate, .*x\.pem"):
        people(str(pki / "x.pem"))


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
async def test_an_old_tls_version_does_not_get_in(pki):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with scheduler(pki, strangers=True) as port:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection(LOOPBACK, port, ssl=old)


@pytest.mark.parametrize(
    ("uris", "peer"),
    [
        ([], None),
        (["urn:dts:role:clerk"], None),
        (["https://example.org/urn:dts:role:scheduler"], None),
        (["urn:dts:node:n1"], None),
        (["urn:dts:role:scheduler", "urn:dts:role:definition"], Peer(frozenset({"scheduler", "definition"}))),
        (["urn:dts:role:executor", "urn:dts:node:n1"], Peer(frozenset({"executor"}), "n1")),
    ],
)
def test_only_the_uris_of_dts_name_a_role(uris, peer):
    assert named({"subjectAltName": tuple(("URI", uri) for uri in uris)}) == peer


async def shown(pki: Path, port: int) -> bytes:
    """The certificate that a server shows now."""
    context = people(str(pki / CA)).context()
    _, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context)
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
