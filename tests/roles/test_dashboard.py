"""The dashboard over HTTP, before services that say the worst: who gets in, what may be sent, what is shown."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser

import aiohttp
import pytest

from dts.pb.dts.v1 import (
    RunState,
)
from dts.roles.gateway.web.pages import task
from dts.roles.gateway.web.session import IDLE, LONGEST
from roles.front import HERE, NASTY, RUN, fronting, nasty_run, secret
from support.polling import eventually

PAGES = (
    "/",
    "/tasks",
    "/tasks/t",
    "/tasks/t/edit",
    "/tasks/t/edit?as=yaml",
    "/new",
    "/runs",
    f"/runs/{RUN}",
    "/schedule",
    "/nodes",
)


@pytest.fixture
async def front():
    async with fronting() as found:
        yield found


# -- who gets in


@pytest.mark.parametrize("path", [*PAGES, "/live/now", f"/runs/{RUN}/log.txt"])
async def test_a_stranger_gets_nothing_but_the_way_to_sign_in(front, path):
    response, text = await front.get(path)
    assert response.status == 401
    assert 'name="token"' in text
    assert "script>alert" not in text
    assert front.scheduler.asked == []


async def test_whoever_signs_in_is_led_back_and_calls_as_themselves(front):
    response, _ = await front.sign_in(back="/runs?state=failed")
    assert (response.status, response.headers["Location"]) == (303, "/runs?state=failed")
    cookie = response.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert secret("operator") not in cookie
    response, _ = await front.get("/runs")
    assert (response.status, front.scheduler.asked) == (200, [("anna-operator", "list_runs")])


async def test_behind_tls_the_cookie_is_of_this_host_and_of_tls_alone(front):
    response, _ = await front.post(
        "/sign-in", {"token": secret("viewer")}, headers=HERE | {"X-Forwarded-Proto": "https"}
    )
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie.split("; ")


@pytest.mark.parametrize("token", ["", "wrong", secret("nobody"), "dts_" + "é" * 43])
async def test_a_token_that_is_none_lets_nobody_in(front, token):
    response, text = await front.post("/sign-in", {"token": token, "back": "/"})
    assert response.status == 401
    assert "the token is not one of this installation" in text


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/ x"]
)
async def test_nobody_is_led_to_a_stranger_after_signing_in(front, back):
    response, _ = await front.sign_in(back=back)
    assert response.headers["Location"] == "/"


async def test_a_revoked_token_ends_the_session_and_the_page_that_is_open(front):
    await front.sign_in()
    async with front.http.get("/live/now") as stream:
        assert b"event: parts" in (await _until(stream, b"event: parts"))
        front.tokens.revoke()
        assert await _until(stream, b"event: over")
    response, text = await front.get("/")
    assert response.status == 401
    assert "was revoked" in text


async def test_a_session_ends_when_it_is_idle_and_is_kept_when_it_is_used(front):
    await front.sign_in()
    front.now += IDLE - timedelta(minutes=1)
    response, _ = await front.get("/nodes")
    assert (response.status, "Set-Cookie" in response.headers) == (200, True)
    front.now += IDLE - timedelta(minutes=1)
    assert (await front.get("/nodes"))[0].status == 200
    front.now += IDLE + timedelta(minutes=1)
    assert (await front.get("/nodes"))[0].status == 401


async def test_a_session_does_not_live_for_ever_by_being_used(front):
    await front.sign_in()
    for _ in range(int(LONGEST / IDLE) * 2 - 1):
        front.now += IDLE / 2
        assert (await front.get("/nodes"))[0].status == 200
    front.now += IDLE / 2 + timedelta(minutes=1)
    assert (await front.get("/nodes"))[0].status == 401


async def test_whoever_signs_out_is_out(front):
    await front.sign_in()
    response, _ = await front.post("/sign-out", {"form_token": await front.form_token()})
    assert response.status == 303
    assert (await front.get("/"))[0].status == 401


async def test_a_cookie_that_was_tampered_with_opens_nothing(front):
    response, _ = await front.sign_in()
    name, _, value = response.headers["Set-Cookie"].partition(";")[0].partition("=")
    for made in (value[:-4] + "AAAA", value[:10], "x", "é", ""):
        async with aiohttp.ClientSession() as stranger:
            headers = {"Cookie": f"{name}={made}"}
            async with stranger.get(front.http._base_url, headers=headers) as answer:
                assert answer.status == 401, made


# -- what may be sent


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {}, {"Origin": "https://evil.example"}],
    ids=str,
)
async def test_a_form_of_another_site_does_nothing(front, headers):
    await front.sign_in()
    fields = {"form_token": await front.form_token()}
    response, _ = await front.post(f"/runs/{RUN}/cancel", fields, headers=headers)
    assert response.status == 403
    assert not [what for _, what in front.scheduler.asked if what.startswith("cancel")]
    assert (await front.post("/sign-in", {"token": secret("viewer")}, headers=headers))[0].status == 403


@pytest.mark.parametrize("token", ["", "x", "AAAA" * 15, "é"])
async def test_a_form_without_its_token_does_nothing(front, token):
    await front.sign_in()
    response, _ = await front.post(f"/runs/{RUN}/cancel", {"form_token": token})
    assert response.status == 403


async def test_a_form_token_of_another_session_does_nothing(front):
    await front.sign_in()
    token = await front.form_token()
    await front.sign_in()
    assert (await front.post(f"/runs/{RUN}/cancel", {"form_token": token}))[0].status == 403


async def test_an_operator_cancels_and_is_led_to_the_run(front):
    await front.sign_in()
    response, _ = await front.post(f"/runs/{RUN}/cancel", {"form_token": await front.form_token()})
    assert (response.status, response.headers["Location"]) == (303, f"/runs/{RUN}")
    assert ("anna-operator", f"cancel_run {RUN}") in front.scheduler.asked


async def test_nothing_is_deleted_before_it_was_asked_whether_it_shall_be(front):
    await front.sign_in()
    fields = {"form_token": await front.form_token(), "version": "3"}
    response, text = await front.post("/tasks/t/delete", fields | {"sure": ""})
    assert response.status == 200
    assert "Delete t?" in text
    assert front.definition.deleted == []
    sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text.split("/tasks/t/delete")[1]))
    assert sent["version"] == "3"
    assert (await front.post("/tasks/t/delete", sent))[0].headers["Location"] == "/tasks"
    assert front.definition.deleted == ["t"]


async def test_a_viewer_sees_no_buttons_and_is_refused_all_the_same(front):
    await front.sign_in("viewer")
    _, text = await front.get(f"/runs/{RUN}")
    assert "/cancel" not in text
    response, text = await front.post(f"/runs/{RUN}/cancel", {"form_token": await front.form_token()})
    assert response.status == 403
    assert "needs the scope operator" in text
    assert not [what for _, what in front.scheduler.asked if what.startswith("cancel")]


async def test_a_form_that_is_too_large_is_refused(front):
    await front.sign_in()
    response, _ = await front.post("/new", {"form_token": await front.form_token(), "yaml": "x" * 300_000})
    assert response.status == 429


async def test_a_task_is_defined_by_a_form(front):
    await front.sign_in()
    fields = {
        **dict.fromkeys(("description", "overlap", "catchup", "timeout", "start_deadline", "constraints"), ""),
        "name": "tidy",
        "when": "cron",
        "expression": "0 3 * * *",
        "timezone": "Europe/Zurich",
        "kind": "process",
        "command": "sh -c 'echo \"a b\"'",
        "env": "A=1\nB=two\n\tlines",
        "labels": "team=ops",
        "retries": "2",
        "form_token": await front.form_token(),
    }
    response, text = await front.post("/new", fields | {"do": "part"})
    assert response.status == 200
    assert "--cron &#39;0 3 * * *&#39;" in text
    assert front.definition.created == []
    response, _ = await front.post("/new", fields | {"do": "save"})
    assert (response.status, response.headers["Location"]) == (303, "/tasks/tidy")
    (spec,) = front.definition.created
    assert spec.kind.process.command == ["sh", "-c", 'echo "a b"']
    assert spec.kind.process.env == {"A": "1", "B": "two\nlines"}
    assert (spec.schedule.timezone, spec.policies.retries, spec.labels) == ("Europe/Zurich", 2, {"team": "ops"})


async def test_what_is_wrong_is_told_and_nothing_is_lost(front):
    await front.sign_in()
    fields = {"form_token": await front.form_token(), "as": "yaml", "yaml": "name: x\nshedule: {}\n", "do": "save"}
    response, text = await front.post("/new", fields)
    assert response.status == 422
    assert "the definition:2" in text
    assert "shedule: {}" in text
    assert front.definition.created == []


FIELDS = {
    **dict.fromkeys(("description", "overlap", "catchup", "timeout", "start_deadline", "constraints", "labels"), ""),
    "name": "tidy",
    "when": "cron",
    "expression": "0 3 * * *",
    "kind": "process",
    "command": "sh -c 'echo 1'",
}
FILE = "name: tidy\nschedule: {cron: 0 4 * * *}\nretry_exit_codes: [7]\nprocess: {command: [make, tea]}\n"


async def turned(front, fields):
    return await front.post("/new", fields | {"do": "turn", "form_token": await front.form_token()})


def value_of(name, text):
    return unescape(re.search(rf'name="{name}" value="([^"]*)"', text)[1])


async def test_what_was_typed_into_fields_is_there_as_a_task_file(front):
    await front.sign_in()
    response, text = await turned(front, FIELDS)
    assert response.status == 200
    (shown,) = re.findall(r'<textarea name="yaml"[^>]*>(.*?)</textarea>', text, re.DOTALL)
    assert "name: tidy" in shown
    assert "echo 1" in shown
    assert front.definition.created == []


async def test_a_name_that_is_missing_does_not_keep_fields_from_becoming_a_task_file(front):
    await front.sign_in()
    _, text = await turned(front, FIELDS | {"name": ""})
    assert '<textarea name="yaml"' in text
    assert "echo 1" in text


async def test_fields_that_cannot_be_read_stay_and_say_why(front):
    await front.sign_in()
    response, text = await turned(front, FIELDS | {"command": "sh -c 'echo"})
    assert response.status == 422
    assert "cannot be split into words" in text
    assert value_of("name", text) == "tidy"


async def test_a_task_file_that_was_typed_is_there_as_fields_and_loses_nothing_they_do_not_show(front):
    await front.sign_in()
    response, text = await turned(front, {"as": "yaml", "yaml": FILE})
    assert response.status == 200
    assert value_of("expression", text) == "0 4 * * *"
    assert value_of("base", text) == FILE
    fields = FIELDS | {"base": FILE, "do": "save", "form_token": await front.form_token()}
    assert (await front.post("/new", fields))[0].status == 303
    (spec,) = front.definition.created
    assert list(spec.policies.retry_exit_codes) == [7]


@pytest.mark.parametrize(
    ("file", "why"),
    [("name: [", "the definition:"), (FILE + 'description: "two\\nlines"\n', "more than the form")],
    ids=["broken", "more"],
)
async def test_a_task_file_that_fields_cannot_show_stays_and_says_why(front, file, why):
    await front.sign_in()
    response, text = await turned(front, {"as": "yaml", "yaml": file})
    assert response.status == 422
    assert why in text
    assert file.splitlines()[0] in unescape(text)
    assert '<textarea name="yaml"' in text


# -- what is shown


class Active(HTMLParser):
    """Finds whatever a browser would run, or load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        source = given.get("src", "") or given.get("href", "") or ""
        ours = source.startswith(("/", "#", "?")) or not source
        if (tag == "script" and not source.startswith("/static/")) or not ours or "style" in given:
            self.found.append(f"{tag} {given}")
        if any(name.startswith("on") for name in given):
            self.found.append(f"{tag} {given}")

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.FAILED], ids=lambda state: state.name)
async def test_nothing_that_people_or_tasks_say_becomes_part_of_a_page(front, path, state):
    front.scheduler.state = state
    await front.sign_in()
    response, text = await front.get(path)
    assert response.status == 200, text
    page = Active()
    page.feed(text)
    assert page.found == []
    assert path == "/new" or "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text or path == "/new"


@pytest.mark.parametrize("name", ["now", "tasks", "tasks/t", "runs", f"runs/{RUN}", "schedule", "nodes"])
async def test_what_is_sent_to_an_open_page_is_escaped_as_well(front, name):
    await front.sign_in()
    async with front.http.get(f"/live/{name}") as stream:
        sent = await _until(stream, b"\n\n", times=2)
    assert b"script&gt;alert" in sent
    assert b"<script>alert" not in sent


async def test_the_first_run_of_a_task_is_drawn_on_its_open_page(front, monkeypatch):
    monkeypatch.setattr(task, "PAST_SECONDS", 0)
    front.scheduler.ledger = []
    await front.sign_in()
    async with front.http.get("/live/tasks/t?at=2026-11-23T08:00") as stream:
        assert b"No run yet." in await _until(stream, b"event: parts")
        front.scheduler.ledger = [nasty_run(state=RunState.SUCCEEDED)]
        assert await _until(stream, b"of the latest runs")
    assert front.scheduler.explained.at == datetime(2026, 11, 23, 8, tzinfo=UTC)


async def test_a_log_is_sent_as_lines_without_what_steers_terminals(front):
    front.scheduler.state = RunState.FAILED
    await front.sign_in()
    async with front.http.get(f"/live/runs/{RUN}/log") as stream:
        sent = (await stream.read()).decode()
    assert '["err", "red"]' in sent
    assert "event: end" in sent
    response, text = await front.get(f"/runs/{RUN}/log.txt")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert NASTY in text


async def test_why_is_asked_about_a_time_in_utc(front):
    await front.sign_in()
    assert (await front.get("/tasks/t?at=2026-11-23T08:00"))[0].status == 200
    assert front.scheduler.explained.at == datetime(2026, 11, 23, 8, tzinfo=UTC)
    response, text = await front.get("/tasks/t?at=soon")
    assert response.status == 400
    assert "is a time such as" in text


async def test_a_refusal_is_a_page_that_names_what_is_missing(front):
    front.scheduler.missing = True
    await front.sign_in()
    response, text = await front.get(f"/runs/{RUN}")
    assert response.status == 404
    assert "no run &#34;" in text
    assert "<script>alert" not in text


async def test_a_filter_for_a_task_that_is_not_there_keeps_the_page_and_names_those_that_are_like_it(front):
    front.scheduler.unknown = {"Nightly"}
    await front.sign_in()
    response, text = await front.get("/runs?task=Nightly&state=failed")
    assert response.status == 200
    assert "No run is like that." in text
    assert 'name="task" value="Nightly"' in text
    assert front.definition.listed == ["nightly"]
    (there,) = re.findall(r'href="/runs\?(task=[^"]+)">', text)
    assert there.endswith("&amp;state=failed")


async def test_a_node_without_labels_says_so(front):
    await front.sign_in()
    _, text = await front.get("/nodes")
    assert "<dt>labels</dt><dd>no labels</dd>" in text.split('id="bare"')[1]


async def test_an_address_that_is_none_is_a_page_with_a_way_back_for_people(front):
    response, text = await front.get("/taks", headers={"Accept": "text/html,*/*"})
    assert response.status == 404
    assert "there is no page at this address" in text
    assert '<a href="/tasks">' in text
    response, text = await front.get("/taks")
    assert (response.status, text) == (404, "Not Found\n")


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nothing-there"])
async def test_every_answer_forbids_what_pages_do_not_need(front, path):
    await front.sign_in()
    response, _ = await front.get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    if response.status == 200:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


async def test_assets_are_kept_for_ever_and_change_their_address_with_their_content(front):
    _, text = await front.get("/sign-in")
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', text):
        response, _ = await front.get(path)
        assert response.status == 200
        assert "immutable" in response.headers["Cache-Control"]
    assert (await front.get("/static/000000000000/app.js"))[0].status == 404


async def test_a_server_that_stops_lets_open_pages_go(front):
    await front.sign_in()
    async with front.http.get("/live/now") as stream:
        await _until(stream, b"event: parts")
        front.stopping = True
        async with asyncio.timeout(5):
            await stream.read()


async def test_whoever_leaves_a_page_is_not_looked_for_any_more(front):
    await front.sign_in()
    async with front.http.get("/live/runs") as stream:
        await _until(stream, b"event: parts")
    stream.close()

    async def quiet():
        before = len(front.scheduler.asked)
        await asyncio.sleep(1.2)
        return len(front.scheduler.asked) == before

    assert await eventually(quiet)


async def _until(stream, wanted, times=1):
    got = b""
    async with asyncio.timeout(10):
        while got.count(wanted) < times:
            chunk = await stream.content.readany()
            assert chunk, got
            got += chunk
    return got


@pytest.mark.parametrize("what", ["turn", "preview"])
async def test_a_look_at_what_was_typed_keeps_the_version_that_it_began_with(front, what):
    """Else what somebody else saved meanwhile would be overwritten without a word."""
    await front.sign_in()
    fields = FIELDS | {"do": what, "version": "2", "form_token": await front.form_token()}
    _, text = await front.post("/tasks/x/edit", fields)
    assert 'name="version" value="2"' in text
    _, text = await front.get("/tasks/x/edit")
    assert 'name="version" value="3"' in text
