"""The dashboard as a whole: every address, and the page that answers it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from dts.roles.gateway.web.assets import Assets
from dts.roles.gateway.web.door import Door
from dts.roles.gateway.web.pages import edit, nodes, now, run, runs, schedule, task, tasks
from dts.roles.gateway.web.person import Services
from dts.roles.gateway.web.render import Templates
from dts.roles.gateway.web.session import Sessions
from dts.rpc.gate import Gate


def routes(
    services: Services,
    *,
    gate: Gate,
    sessions: Sessions,
    clock: Callable[[], datetime],
    version: str,
    stopping: Callable[[], bool],
) -> list[web.RouteDef]:
    """What to give to an `HttpServer`.

    Args:
        services: what pages are made of.
        gate: judges whoever signs in, and each of their calls.
        sessions: what browsers keep.
        clock: the time.
        version: of dts.
        stopping: whether the server stops: pages that are open are let go.
    """
    assets = Assets()
    templates = Templates(assets, version=version, now=clock)
    door = Door(services, gate=gate, sessions=sessions, templates=templates, stopping=stopping)
    reads = {
        "/": now.page,
        "/tasks": tasks.page,
        "/tasks/{task}": task.page,
        "/new": edit.new,
        "/tasks/{task}/edit": edit.edit,
        "/runs": runs.page,
        "/runs/{run}": run.page,
        "/schedule": schedule.page,
        "/nodes": nodes.page,
    }
    streams = {
        "/live/now": now.live,
        "/live/tasks": tasks.live,
        "/live/tasks/{task}": task.live,
        "/live/runs": runs.live,
        "/live/runs/{run}": run.live,
        "/live/runs/{run}/log": run.log,
        "/runs/{run}/log.txt": run.save,
        "/live/schedule": schedule.live,
        "/live/nodes": nodes.live,
    }
    changes = {
        "/sign-out": door.let_out,
        "/new": edit.create,
        "/tasks/{task}/edit": edit.update,
        "/tasks/{task}/trigger": task.trigger,
        "/tasks/{task}/pause": task.pause,
        "/tasks/{task}/resume": task.resume,
        "/tasks/{task}/delete": task.delete,
        "/runs/{run}/cancel": run.cancel,
        "/runs/{run}/retry": run.retry,
        "/nodes/{node}/drain": nodes.drain,
        "/nodes/{node}/resume": nodes.resume,
    }
    return [
        web.get("/static/{version}/{name}", assets.serve),
        web.get("/sign-in", door.show_sign_in),
        web.post("/sign-in", door.let_in),
        *(web.post(path, door.page(page)) for path, page in changes.items()),
        *(web.get(path, door.page(page)) for path, page in reads.items()),
        *(web.get(path, door.stream(page)) for path, page in streams.items()),
        web.get(r"/{rest:(?!dts\.v1\.).*}", door.lost),
    ]
