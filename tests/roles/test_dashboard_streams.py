"""What goes on for long at the dashboard, and what arrives slowly: nobody keeps it who may not, or what others need."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from dts.pb.dts import v1
from dts.pb.dts.v1 import LogChunk
from dts.roles.gateway.web import door, forms
from roles.front import HERE, MOMENT, RUN, fronting
from support.polling import eventually


@pytest.fixture
async def front():
    async with fronting() as found:
        await found.sign_in()
        yield found


def goes_on(front, *, silent: bool):
    """The run prints for ever, or nothing more after its first line."""

    async def tail_logs(message):  # noqa: ARG001
        while True:
            yield v1.TailLogsResponse(chunks=[LogChunk(content=b"line\n", attempt=1, at=MOMENT)])
            await asyncio.sleep(3600 if silent else 0.05)

    front.scheduler.tail_logs = tail_logs


@pytest.mark.parametrize("silent", [False, True], ids=["it prints", "it is silent"])
@pytest.mark.parametrize("path", [f"/live/runs/{RUN}/log", f"/runs/{RUN}/log.txt"])
async def test_a_log_ends_with_the_token_of_whoever_reads_it(front, path, silent):
    goes_on(front, silent=silent)
    async with front.http.get(path) as stream:
        await stream.content.readany()
        front.tokens.revoke()
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(stream.content.read(), 5)


async def test_a_log_that_breaks_off_does_not_look_whole(front):
    async def tail_logs(message):  # noqa: ARG001
        yield v1.TailLogsResponse(chunks=[LogChunk(content=b"half\n", attempt=1, at=MOMENT)])
        raise RuntimeError("the database went away")

    front.scheduler.tail_logs = tail_logs
    async with front.http.get(f"/runs/{RUN}/log.txt") as stream:
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.read()


async def test_one_person_does_not_take_all_the_streams(front, monkeypatch):
    monkeypatch.setattr(door, "STREAMS", 2)
    async with front.http.get("/live/now"), front.http.get("/live/runs"):
        response, text = await front.get("/live/now")
        assert response.status == 429
        assert "2 pages of anna-operator are open" in text

    async def again():
        async with front.http.get("/live/now") as stream:
            return stream.status == 200

    assert await eventually(again)


async def test_a_form_that_does_not_arrive_keeps_no_connection(front, monkeypatch):
    monkeypatch.setattr(forms, "SENDING_SECONDS", 0.2)

    async def slowly():
        yield b"token="
        await asyncio.sleep(3600)

    headers = {**HERE, "Content-Type": "application/x-www-form-urlencoded", "Content-Length": "50"}
    async with asyncio.timeout(5), front.http.post("/sign-in", data=slowly(), headers=headers) as response:
        assert response.status == 504
        assert "was not here within" in await response.text()


async def test_of_a_form_of_another_site_nothing_is_read(front):
    async def never():
        yield b"token="
        await asyncio.sleep(3600)

    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "50"}
    async with asyncio.timeout(5), front.http.post("/sign-in", data=never(), headers=headers) as response:
        assert response.status == 403


async def test_signing_out_of_an_old_session_does_not_renew_it(front):
    fields = {"form_token": await front.form_token()}
    front.now += timedelta(hours=2)
    response, _ = await front.post("/sign-out", fields)
    assert response.status == 303
    assert (await front.get("/"))[0].status == 401


async def test_a_cookie_that_came_in_the_clear_is_not_taken_under_tls(front):
    assert (await front.get("/", headers={"X-Forwarded-Proto": "https"}))[0].status == 401


async def test_an_origin_that_is_no_address_is_not_from_here(front, caplog):
    response, _ = await front.post("/sign-in", {"token": "x"}, headers={"Origin": "http://[x"})
    assert response.status == 403
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_form_that_another_site_makes_a_browser_send_signs_nobody_out(front):
    async with (
        aiohttp.ClientSession(str(front.http._base_url)) as stranger,
        stranger.post("/sign-out", data={}, allow_redirects=False) as response,
    ):
        assert (response.status, "Set-Cookie" in response.headers) == (401, False)
