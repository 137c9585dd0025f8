"""What is told about a process under `/metrics`, beside what the scheduler counts itself."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Protocol

from dts.roles.executor.executor import Executor
from dts.rpc.http import HttpServer
from dts.rpc.server import RpcServer
from dts.runtime.loop import Loop
from dts.runtime.metrics import LATENESS, Metrics, by_name


class Pool(Protocol):
    """Connections to PostgreSQL."""

    def get_max_size(self) -> int:
        """How many there may be."""
        ...

    def get_size(self) -> int:
        """How many there are."""
        ...

    def get_idle_size(self) -> int:
        """How many of them nobody uses."""
        ...


def of_build(metrics: Metrics, *, version: str, roles: Iterable[str]) -> None:
    """What runs here."""
    labels = (version, platform.python_version(), ",".join(sorted(roles)))
    metrics.read(
        "dts_build_info",
        "What runs here; always 1.",
        "version",
        "python",
        "roles",
        kind="gauge",
        read=lambda: {labels: 1},
    )


def of_loops(metrics: Metrics, loops: list[Loop]) -> None:
    """What turns."""
    metrics.read(
        "dts_loop_passes_total",
        "Passes of a loop, failed ones included.",
        "loop",
        kind="counter",
        read=lambda: by_name((loop.name, loop.turns) for loop in loops),
    )
    metrics.read(
        "dts_loop_failures_total",
        "Failed passes of a loop.",
        "loop",
        kind="counter",
        read=lambda: by_name((loop.name, loop.failures) for loop in loops),
    )
    metrics.read(
        "dts_loop_busy_seconds_total",
        "Time that the passes of a loop took.",
        "loop",
        kind="counter",
        read=lambda: by_name((loop.name, loop.busy) for loop in loops),
    )
    metrics.read(
        "dts_loop_age_seconds",
        "How long ago a pass of a loop last came to a good end.",
        "loop",
        kind="gauge",
        read=lambda: by_name((loop.name, loop.age) for loop in loops),
    )
    metrics.read(
        "dts_loop_failing_passes",
        "Failed passes of a loop since its last good one.",
        "loop",
        kind="gauge",
        read=lambda: by_name((loop.name, loop.failed_in_a_row) for loop in loops),
    )


def of_rpc(metrics: Metrics, server: RpcServer) -> None:
    """Calls that this process answers, by gRPC and as JSON."""
    calls = metrics.counts("dts_rpc_calls_total", "Calls that ended, by route and status.", "route", "code")
    seconds = metrics.spread("dts_rpc_call_seconds", "How long calls with one answer took.", "route")

    def observe(route: str, code: str, took: float | None) -> None:
        calls.add(route, code)
        if took is not None:
            seconds.add(took, route)

    desk = server.desk
    desk.observe = observe
    metrics.read(
        "dts_rpc_calls_under_way",
        "Calls that are being answered.",
        "kind",
        kind="gauge",
        read=lambda: {("unary",): len(desk.unary), ("stream",): len(desk.streams)},
    )
    metrics.gauge("dts_rpc_connections", "Open connections of gRPC.", lambda: server.connections)


def of_http(metrics: Metrics, server: HttpServer) -> None:
    """The HTTP server itself."""
    metrics.gauge("dts_http_connections", "Open connections of HTTP.", lambda: server.connections)


def of_executor(metrics: Metrics, executor: Executor) -> None:
    """The node's work."""
    late = metrics.spread(
        "dts_executor_start_lateness_seconds", "How long after its instant an attempt was started.", bounds=LATENESS
    )
    executor.on_start(lambda seconds, times: late.add(max(0.0, seconds), times=times))
    metrics.gauge("dts_executor_attached", "1 while a scheduler has granted a lease.", lambda: executor.attached)
    metrics.gauge("dts_executor_held_attempts", "Attempts that are not over.", lambda: executor.held)
    metrics.gauge("dts_executor_used_slots", "Slots that are taken.", lambda: executor.used().slots)
    metrics.gauge("dts_executor_slots", "Slots that there are.", lambda: executor.slots)
    metrics.gauge(
        "dts_executor_outbox_results", "Results that no scheduler has acknowledged.", lambda: executor.unacknowledged
    )


def of_pool(metrics: Metrics, pool: Pool) -> None:
    """Connections to PostgreSQL."""
    metrics.gauge("dts_database_pool_max_connections", "Connections that there may be.", pool.get_max_size)
    metrics.gauge("dts_database_pool_connections", "Connections that are open.", pool.get_size)
    metrics.gauge(
        "dts_database_pool_used_connections",
        "Connections that are being used.",
        lambda: pool.get_size() - pool.get_idle_size(),
    )
