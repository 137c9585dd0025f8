"""What these tests show: tasks, what became of their runs for months, people, and who is at the screen."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page

from dts.domain.taskfile import load_tasks
from dts.pb.dts.v1 import TaskSpec
from support.ledger import Ledger
from support.system import System

ATTACK = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>"

TASKS = """
tasks:
  - name: nightly-report
    description: Sales of the day before, for Zurich's morning
    schedule: {cron: "0 3 * * *", timezone: Europe/Zurich}
    process: {command: [sh, -c, "echo report; sleep 1"]}
    retries: 2
    timeout: 30m
    labels: {team: sales}
  - name: sync-inventory
    description: Stock levels from the warehouse
    schedule: {every: 5m}
    process: {command: ["true"]}
    labels: {team: shop}
  - name: poll-orders
    description: New orders, each minute
    schedule: {every: 1m}
    process: {command: ["true"]}
    labels: {team: shop}
  - name: rotate-certificates
    schedule: {cron: "H 4 * * MON"}
    process: {command: ["true"]}
    labels: {team: platform}
  - name: reindex-search
    description: The whole index, bit by bit
    schedule: {cron: "*/15 * * * *"}
    process: {command: [sh, -c, "echo reading; sleep 300"]}
    overlap: skip
    labels: {team: shop}
  - name: send-newsletter
    schedule: {cron: "0 8 * * TUE", timezone: Europe/Berlin, exclude: ["12-24..12-31"]}
    process: {command: ["true"]}
  - name: backup-database
    description: A dump, kept for thirty days
    schedule: {cron: "0 * * * *"}
    process: {command: ["true"]}
    labels: {team: platform}
  - name: check-links
    schedule: {cron: "0 * * * *"}
    process: {command: [sh, -c, "echo broken >&2; exit 3"]}
    labels: {team: shop}
  - name: collect-invoices
    schedule: {cron: "0 0 1 * *", timezone: America/New_York}
    process: {command: ["true"]}
"""

# Pseudo-random by hash, so that each picture is like the last.
PAST = """
INSERT INTO run_history (
    id, task_id, task_version, trigger, scheduled_at, created_at, state, reason, message, attempt, node_id,
    assigned_at, started_at, finished_at, exit_code
)
SELECT gen_random_uuid(), task.id, 1, 'schedule', at, at,
    CASE WHEN failed THEN 'failed' WHEN skipped THEN 'skipped' ELSE 'succeeded' END::run_state,
    CASE WHEN failed THEN 'exit_code' WHEN skipped THEN 'skipped_overlap' ELSE 'ok' END,
    CASE WHEN skipped THEN 'an earlier run was not over' ELSE '' END,
    CASE WHEN skipped THEN 0 ELSE 1 END, CASE WHEN NOT skipped THEN 'swarm-' || 2 + luck % 3 END,
    CASE WHEN NOT skipped THEN at END, CASE WHEN NOT skipped THEN at + late END,
    at + late + CASE WHEN skipped THEN interval '0' ELSE took END, CASE WHEN failed THEN 3 WHEN NOT skipped THEN 0 END
FROM task
CROSS JOIN LATERAL (
    SELECT date_bin($2::interval, now(), 'epoch'::timestamptz) - n * $2::interval AS at, n
    FROM generate_series(1, $3::int) n
) AS tick
CROSS JOIN LATERAL (SELECT abs(hashtext(task.name || n)) AS luck) AS dice
CROSS JOIN LATERAL (SELECT luck % 100 < $4 AS failed, luck % 100 >= 100 - $5::int AS skipped,
    $6::interval * (0.6 + (luck % 1000) / 1250.0 + ($3 - n) / (2.0 * $3)) AS took,
    interval '1 millisecond' * (2 + luck % 40 + CASE WHEN luck % 50 = 0 THEN 400 ELSE 0 END) AS late) AS fate
WHERE task.name = $1
ON CONFLICT DO NOTHING
"""


def tasks() -> list[TaskSpec]:
    """The definitions."""
    return load_tasks(TASKS, source="tests")


@dataclass(frozen=True, slots=True)
class History:
    """Writes what became of runs since summer, on three nodes."""

    pool: asyncpg.Pool

    async def write(self) -> None:
        """Writes it."""
        ledger = Ledger.on(self.pool)
        for number in (2, 3, 4):
            # They can take nothing that these tests run: nobody is there.
            name = f"swarm-{number}"
            await ledger.node(name, slots=8, kinds=["container"], labels={"disk": "ssd" if number % 2 else "hdd"})
        # The clocks of the cursors start at creation; the past begins before.
        await self.pool.execute("UPDATE node SET lease_until = now() + interval '1 day' WHERE id LIKE 'swarm-_'")
        past = [
            ("nightly-report", "24 hours", 160, 6, 0, "14 minutes"),
            ("sync-inventory", "5 minutes", 2500, 1, 1, "8 seconds"),
            ("poll-orders", "1 minute", 600, 2, 1, "9 seconds"),
            ("rotate-certificates", "7 days", 24, 5, 0, "3 seconds"),
            ("reindex-search", "15 minutes", 1500, 2, 12, "11 minutes"),
            ("backup-database", "1 hour", 3000, 1, 0, "4 minutes"),
            ("check-links", "1 hour", 900, 45, 0, "40 seconds"),
        ]
        for name, every, count, failed, skipped, took in past:
            await self.pool.execute(
                PAST.replace("$2::interval", f"interval '{every}'").replace("$6::interval", f"interval '{took}'")
                .replace("$3::int", str(count)).replace("$3", str(count))
                .replace("$4", str(failed)).replace("$5::int", str(skipped)),
                name,
            )  # fmt: skip
        await self.pool.execute("ANALYZE run_history")


async def people(system: System) -> dict[str, str]:
    """A token for each scope, made as people make them."""
    found: dict[str, str] = {}
    for scope in ("viewer", "operator", "admin"):
        done = await system.dts("token", "create", f"anna-{scope}", "--scope", scope)
        secret = re.search(r"dts_[A-Za-z0-9_-]{43}", done.out)
        assert secret, done
        found[scope] = secret[0]
    return found


@dataclass(slots=True)
class Screen:
    """A page, and what the browser complained of."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        """Goes to a page."""
        await self.page.goto(self.base + path)

    async def sign_in(self, token: str) -> None:
        """Shows a token."""
        await self.open("/sign-in")
        await self.page.fill("#token", token)
        await self.page.click("main button")

    def listen(self) -> None:
        """Notes every complaint."""

        def heard(message: ConsoleMessage) -> None:
            # A refusal that a test asks for is one line of it.
            if message.type == "error" and "the server responded with a status of" not in message.text:
                self.complaints.append(message.text)

        async def asked(dialog: Dialog) -> None:
            self.complaints.append(f"a dialog: {dialog.message}")
            await dialog.dismiss()

        self.page.on("console", heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", asked)


@asynccontextmanager
async def screen(
    browser: Browser, system: System, *, token: str | None = None, width: int = 1280, scheme: str = "light", **options
) -> AsyncIterator[Screen]:
    """A browser of somebody who is signed in, if there is a token; fails if the browser complained of anything."""
    size = {"width": width, "height": 844 if width < 600 else 860}
    context = await browser.new_context(viewport=size, color_scheme=scheme, timezone_id="Europe/Zurich", **options)
    context.set_default_timeout(10_000)
    found = Screen(await context.new_page(), f"http://{system.http}")
    found.listen()
    if token is not None:
        await found.sign_in(token)
    yield found
    await context.close()
    assert found.complaints == []
