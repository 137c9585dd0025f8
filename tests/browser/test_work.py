"""What people do with the dashboard, from signing in to running a task again; and what they may not."""

from __future__ import annotations

import pytest
from world import screen

from dts.pb.dts.v1 import CreateTaskRequest, Kind, ProcessKind, TaskSpec

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNT = "for n in 1 2 3; do echo line $n; done; echo careful >&2; sleep 60"


async def test_a_task_is_made_run_watched_stopped_and_run_again(browser, system, tokens):
    async with screen(browser, system, token=tokens["operator"]) as anna:
        page = anna.page
        await anna.open("/new")
        await page.fill("[name=name]", "Count Up")
        await page.fill("[name=expression]", "0 0 30 2 *")
        await page.get_by_role("alert").filter(has_text="a-z").wait_for()
        await page.get_by_role("alert").filter(has_text="schedule").wait_for()
        await page.fill("[name=name]", "count-up")
        await page.fill("[name=expression]", "30 2 * * *")
        await page.fill("[name=timezone]", "Europe/Zurich")
        await page.select_option("[name=kind]", "process")
        await page.fill("[name=command]", f"sh -c '{COUNT}'")
        await page.fill("[name=labels]", "team=tests")
        await page.locator("#preview .ticks tbody tr").nth(9).wait_for()
        await page.get_by_text("Clock change").first.wait_for()
        assert "--timezone Europe/Zurich" in await page.locator("#preview pre").first.inner_text()
        await page.get_by_role("button", name="Create", exact=True).click()
        await page.wait_for_url("**/tasks/count-up")

        await page.get_by_role("button", name="Run now", exact=True).click()
        await page.wait_for_url("**/runs/*")
        await page.locator("#log .out", has_text="line 3").wait_for()
        await page.locator("#log .err", has_text="careful").wait_for()
        await page.check("#only-err")
        assert await page.locator("#log .out:visible").count() == 0
        await page.uncheck("#only-err")
        await page.fill("#find", "line 2")
        assert await page.locator("#log div:visible").all_inner_texts() == ["line 2"]
        await page.locator(".badge.running").first.wait_for()
        await page.get_by_role("button", name="Cancel", exact=True).click()
        await page.locator("h1 .badge.cancelled").wait_for()
        await page.get_by_text("it was cancelled").first.wait_for()

        first = page.url
        await page.get_by_role("button", name="Run again", exact=True).click()
        await page.wait_for_url(lambda url: url != first)
        await page.get_by_text("retry").first.wait_for()
        await page.get_by_role("button", name="Cancel", exact=True).click()
        await page.locator("h1 .badge.cancelled").wait_for()


async def test_a_task_is_changed_paused_and_resumed_and_its_versions_say_so(browser, system, tokens):
    spec = TaskSpec(name="changing", kind=Kind(process=ProcessKind(command=["true"])))
    async with system.calls() as calls:
        await calls.tasks.create_task(CreateTaskRequest(spec=spec))
    async with screen(browser, system, token=tokens["operator"]) as anna:
        page = anna.page
        await anna.open("/tasks/changing/edit")
        await page.check("[value=every]")
        await page.fill("[name=expression]", "1h")
        await page.fill("[name=retries]", "many")
        await page.get_by_role("alert").filter(has_text="retries").wait_for()
        await page.fill("[name=retries]", "3")
        await page.get_by_text("every: 1h").wait_for()
        await page.get_by_role("button", name="Save", exact=True).click()
        await page.wait_for_url("**/tasks/changing")
        await page.locator("#versions summary").first.click()
        await page.locator(".diff .plus", has_text="retries: 3").wait_for()
        await page.fill("#pause-note", "a holiday")
        await page.get_by_role("button", name="Pause", exact=True).click()
        await page.get_by_text("Paused by anna-operator").first.wait_for()
        await page.get_by_text("a holiday").first.wait_for()
        await page.get_by_role("button", name="Resume", exact=True).click()
        await page.locator("#pause-note").wait_for()


async def test_a_change_that_somebody_else_made_first_is_not_written_over(browser, system, tokens):
    spec = TaskSpec(name="contended", kind=Kind(process=ProcessKind(command=["true"])))
    async with system.calls() as calls:
        await calls.tasks.create_task(CreateTaskRequest(spec=spec))
    async with screen(browser, system, token=tokens["operator"]) as anna:
        await anna.open("/tasks/contended/edit")
        assert (await system.dts("task", "set", "contended", "retries=5")).code == 0
        await anna.page.fill("[name=description]", "mine")
        await anna.page.get_by_role("button", name="Save", exact=True).click()
        await anna.page.get_by_role("alert").filter(has_text="read it again").wait_for()
        assert await anna.page.input_value("[name=description]") == "mine"


async def test_a_node_is_drained_and_resumed(browser, system, tokens):
    async with screen(browser, system, token=tokens["operator"]) as anna:
        await anna.open("/nodes")
        node = anna.page.locator("#swarm-4")
        await node.locator("[name=note]").fill("new disks")
        await node.get_by_text("Drain", exact=True).click()
        await node.locator(".badge.draining").wait_for()
        await node.get_by_text("new disks").wait_for()
        await node.get_by_text("Resume").click()
        await node.locator(".badge.ready").wait_for()


async def test_a_viewer_reads_and_is_refused_the_rest(browser, system, tokens):
    async with screen(browser, system, token=tokens["viewer"]) as anna:
        for path in ("/tasks", "/tasks/nightly-report", "/nodes"):
            await anna.open(path)
            assert await anna.page.locator("main form[method=post]").count() == 0, path
        await anna.open("/new")
        await anna.page.fill("[name=name]", "mine")
        await anna.page.get_by_role("button", name="Create", exact=True).click()
        await anna.page.get_by_text("needs the scope operator").first.wait_for()


async def test_signing_in_is_refused_without_a_token_that_works_and_ends_with_it(browser, system, tokens):
    async with screen(browser, system) as anyone:
        await anyone.sign_in("dts_" + "x" * 43)
        await anyone.page.get_by_role("alert").filter(has_text="not one of this installation").wait_for()
        await anyone.open("/tasks/nightly-report")
        await anyone.page.fill("#token", tokens["admin"])
        await anyone.page.click("main button")
        await anyone.page.wait_for_url("**/tasks/nightly-report")
        await anyone.page.get_by_text("anna-admin").first.wait_for()
        assert (await system.dts("token", "revoke", "anna-admin")).code == 0
        await anyone.page.get_by_role("alert").filter(has_text="was revoked").wait_for()


async def test_what_was_typed_goes_with_the_view_silence_is_told_and_deleting_asks_once(browser, system, tokens):
    spec = TaskSpec(name="silent", kind=Kind(process=ProcessKind(command=["sleep", "3"])))
    async with system.calls() as calls:
        await calls.tasks.create_task(CreateTaskRequest(spec=spec))
    async with screen(browser, system, token=tokens["operator"]) as anna:
        page = anna.page
        await anna.open("/tasks/silent/edit")
        await page.fill("[name=description]", "mine")
        await page.get_by_role("button", name="As YAML", exact=True).click()
        assert "description: mine" in await page.input_value("[name=yaml]")
        await page.get_by_role("button", name="As a form", exact=True).click()
        assert await page.input_value("[name=description]") == "mine"
        await page.get_by_role("button", name="Save", exact=True).click()
        await page.wait_for_url("**/tasks/silent")
        await page.get_by_role("button", name="Run now", exact=True).click()
        await page.wait_for_url("**/runs/*")
        await page.get_by_text("Nothing was printed.", exact=True).wait_for()
        await anna.open("/tasks/silent")
        await page.evaluate("window.confirm = () => true")  # a dialog itself is something that a screen complains of
        await page.get_by_role("button", name="Delete", exact=True).click()
        await page.wait_for_url("**/tasks")
