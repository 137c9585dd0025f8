"""Each page in a real browser: it is whole, in light and dark, on a phone, without JavaScript, and it keeps up."""

from __future__ import annotations

import asyncio
import time

import pytest
from world import ATTACK, screen

from dts.pb.dts.v1 import (
    CreateTaskRequest,
    Kind,
    ListRunsRequest,
    PauseTaskRequest,
    ProcessKind,
    TaskSpec,
    TriggerTaskRequest,
)
from support.polling import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = {
    "now": ("/", "Wants attention"),
    "tasks": ("/tasks", "nightly-report"),
    "task": ("/tasks/backup-database", "A year of outcomes"),
    "runs": ("/runs", "poll-orders"),
    "schedule": ("/schedule", "Each node"),
    "week": ("/schedule?span=week", "Each node"),
    "nodes": ("/nodes", "swarm-3"),
    "new": ("/new", "Next runs"),
    "edit": ("/tasks/nightly-report/edit", "Next runs"),
    "edit-yaml": ("/tasks/nightly-report/edit?as=yaml", "The same as a task file"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_each_page_is_whole(scheme, browser, system, tokens, pictures):
    async with screen(browser, system, scheme=scheme) as anyone:
        await anyone.open("/")
        await anyone.page.screenshot(path=pictures / f"sign-in-{scheme}.png")
    async with system.calls() as calls:
        await calls.scheduler.trigger_task(TriggerTaskRequest(task="reindex-search"))
    async with screen(browser, system, token=tokens["operator"], scheme=scheme) as anna:
        for name, (path, words) in PAGES.items():
            await anna.open(path)
            await anna.page.get_by_text(words).first.wait_for()
            await anna.page.screenshot(path=pictures / f"{name}-{scheme}.png", full_page=name not in {"runs", "task"})
        await anna.open("/runs?task=check-links")
        await anna.page.locator(".id").first.click()
        await anna.page.get_by_text("ended with exit code 3").first.wait_for()
        await anna.page.screenshot(path=pictures / f"run-{scheme}.png", full_page=True)


async def test_on_a_phone_nothing_is_wider_than_the_screen(browser, system, tokens, pictures):
    async with screen(browser, system, token=tokens["operator"], width=390) as anna:
        for name, (path, _) in PAGES.items():
            await anna.open(path)
            wide = await anna.page.evaluate("document.documentElement.scrollWidth")
            await anna.page.screenshot(path=pictures / f"{name}-phone.png", full_page=True)
            assert wide <= 390, name


async def test_without_javascript_everything_can_be_read_and_done(browser, system, tokens):
    async with screen(browser, system, token=tokens["operator"], java_script_enabled=False) as anna:
        for path, words in PAGES.values():
            await anna.open(path)
            await anna.page.get_by_text(words).first.wait_for()
        await anna.open("/new")
        await anna.page.fill("[name=name]", "by-hand")
        await anna.page.check("[value=hand]")
        await anna.page.select_option("[name=kind]", "noop")
        await anna.page.get_by_role("button", name="Create", exact=True).click()
        await anna.page.get_by_role("button", name="Run now", exact=True).click()
        await anna.page.get_by_text("somebody asked for this run").wait_for()


@pytest.mark.parametrize(("path", "place"), [("/runs", "#r-{}"), ("/tasks/live-{}", "#r-{}")], ids=["runs", "task"])
async def test_what_happens_is_on_an_open_page_within_a_second(path, place, browser, system, tokens):
    name = path.rpartition("/")[2].format("x") if "{}" in path else "live-runs"
    spec = TaskSpec(name=name, kind=Kind(process=ProcessKind(command=["sleep", "20"])))
    async with system.calls() as calls, screen(browser, system, token=tokens["viewer"]) as anna:
        await calls.tasks.create_task(CreateTaskRequest(spec=spec))
        await anna.open(path.format("x"))
        await anna.page.get_by_text("Live.").wait_for()
        took = []
        for _ in range(3):
            run = (await calls.scheduler.trigger_task(TriggerTaskRequest(task=name))).run
            began = time.monotonic()
            await anna.page.locator(place.format(run.id)).wait_for(state="attached")
            took.append(time.monotonic() - began)
        # The quickest of three: a machine that is busy with other things must not count.
        assert min(took) < 1.0, took


async def test_a_page_says_that_its_connection_is_lost_and_comes_back(browser, system, tokens):
    async with screen(browser, system, token=tokens["viewer"]) as anna:
        await anna.page.route("**/live/**", lambda route: route.abort())
        await anna.open("/nodes")
        await anna.page.get_by_text("The connection is lost").wait_for()
        await anna.page.unroute("**/live/**")
        await anna.page.get_by_text("Live.").wait_for()
        anna.complaints.clear()  # the console says so too


async def test_what_people_and_tasks_say_is_text(browser, system, tokens):
    script = f"printf '%s\\n' '{ATTACK.replace(chr(39), '')}'; printf '%s\\n' '</div><b>bold' >&2; exit 1"
    spec = TaskSpec(
        name="attack",
        description=ATTACK,
        kind=Kind(process=ProcessKind(command=["sh", "-c", script], env={"A": ATTACK})),
        labels={"note": ATTACK},
    )
    async with system.calls() as calls, screen(browser, system, token=tokens["operator"]) as anna:
        await calls.tasks.create_task(CreateTaskRequest(spec=spec))
        run = (await calls.scheduler.trigger_task(TriggerTaskRequest(task="attack", parameters={"P": ATTACK}))).run
        await calls.tasks.pause_task(PauseTaskRequest(task="attack", note=ATTACK))

        async def over():
            found = await calls.scheduler.list_runs(ListRunsRequest(task="attack"))
            return found.runs[0].finished_at

        await eventually(over)
        for path in ("/", "/tasks", "/tasks/attack", f"/runs/{run.id}", "/runs", "/tasks/attack/edit"):
            await anna.open(path)
            await anna.page.wait_for_load_state()
            await asyncio.sleep(0.6)  # until what is live has come once
            assert await anna.page.locator("main img, main script, main b:text('bold')").count() == 0, path
        await anna.open(f"/runs/{run.id}")
        await anna.page.locator("#log .err", has_text="</div><b>bold").wait_for()


async def test_the_keyboard_is_enough(browser, system, tokens):
    async with screen(browser, system, token=tokens["viewer"]) as anna:
        await anna.open("/tasks")
        await anna.page.keyboard.press("Tab")
        assert await anna.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await anna.page.keyboard.press("/")
        await anna.page.keyboard.type("night")
        await anna.page.keyboard.press("Enter")
        await anna.page.wait_for_url("**/tasks?q=night*")
        assert await anna.page.locator("#tasks tbody tr").count() == 1
