"""What `dts simulate` tells: one object for scripts, a few tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dts.cli.output import Format, dump, show
from dts.cli.simulating import ClockChange, Simulation
from dts.cli.times import local, seconds
from dts.domain.durations import format_duration
from dts.domain.replay_figures import Herd, NodeFigures, Shortage, TaskFigures
from dts.domain.sizes import format_size
from dts.domain.words import rfc3339, rounded


def show_report(found: Simulation, form: Format) -> None:
    """Prints a simulation."""
    if form is not Format.TABLE:
        dump(_shape(found), form)
        return
    report = found.report
    print(_first_line(found))
    troubled = [task for task in report.tasks if _overlaps(task) or _room(task)]
    if not troubled:
        print("nothing overlaps, and everything finds room")
    _section("Tasks", ("TASK", "TICKS", "RUNS", "TAKES", "OVERLAP", "FIRST", "ROOM"), map(_task_row, troubled))
    _section(
        "The most on each node: runs at once, and what they reserve",
        ("NODE", "AT ONCE", "WHEN", "CPUS", "MEMORY"),
        map(_node_row, report.nodes),
    )
    _section(
        f"No room: {_of(report.shortages, report.shortage_count)}",
        ("FROM", "TO", "WAIT", "LONGEST", "TASKS", "WHY"),
        map(_shortage_row, report.shortages),
    )
    _section(
        f"Herds: {_of(report.herds, report.herd_count)}",
        ("AT", "WITHIN", "STARTS", "TASKS"),
        map(_herd_row, report.herds),
    )
    _section("Changes of the clock", ("AT", "TASKS", "EFFECT"), map(_change_row, found.changes))


def _section(title: str, header: Sequence[str], rows: Any) -> None:
    table = list(rows)
    if table:
        print(f"\n{title}")
        show(table, table, header, Format.TABLE, empty="")


def _first_line(found: Simulation) -> str:
    report, span = found.report, found.span
    ticks, runs = sum(task.ticks for task in report.tasks), sum(task.started for task in report.tasks)
    assumed = sum(not task.seen for task in report.tasks)
    where = _plural(len(report.nodes), "node") if report.nodes else "no node takes work now: room is not looked at"
    guess = f"; of {assumed} tasks it is not known how long they take" if assumed else ""
    return (
        f"{local(span.since)} to {local(span.until)}: "
        f"{_plural(ticks, 'tick')} of {_plural(len(report.tasks), 'task')}, {_plural(runs, 'run')}; {where}{guess}"
    )


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _task_row(task: TaskFigures) -> tuple[str, ...]:
    takes = f"{rounded(task.took)} ({f'{task.seen} runs' if task.seen else 'assumed'})"
    return task.name, str(task.ticks), str(task.started), takes, _overlaps(task), local(task.first_overlap), _room(task)


def _overlaps(task: TaskFigures) -> str:
    counted = [
        (task.skipped, "skipped"),
        (task.queued, "wait"),
        (task.queue_full, "find the queue full"),
        (task.replaced, "stopped"),
        (task.beside, "side by side"),
    ]
    return ", ".join(f"{count} {words}" for count, words in counted if count)


def _room(task: TaskFigures) -> str:
    said = [
        f"{task.waited} late, at most {rounded(task.longest_wait)}" if task.waited else "",
        f"{task.no_place} never start" if task.no_place else "",
        f"{task.waiting} wait at the end" if task.waiting else "",
        task.nowhere,
    ]
    return "; ".join(text for text in said if text)


def _node_row(node: NodeFigures) -> tuple[str, ...]:
    return (
        node.name,
        f"{node.peak_runs}/{node.slots}",
        local(node.peak_at),
        f"{node.peak_cpus:g}/{node.cpus:g}",
        f"{format_size(node.peak_memory)}/{format_size(node.memory >> 20 << 20)}",
    )


def _shortage_row(shortage: Shortage) -> tuple[str, ...]:
    return (
        local(shortage.begins),
        local(shortage.ends),
        str(shortage.waiting),
        rounded(shortage.longest_wait),
        ", ".join(shortage.names),
        shortage.words,
    )


def _herd_row(herd: Herd) -> tuple[str, ...]:
    return local(herd.at), format_duration(herd.span), str(herd.starts), _some(herd.names, herd.tasks)


def _change_row(change: ClockChange) -> tuple[str, ...]:
    return local(change.at), _some(change.names, change.tasks), change.effect


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names)} more" if count > len(names) else "")


def _of(listed: Sequence[object], count: int) -> str:
    return str(count) if count == len(listed) else f"the worst {len(listed)} of {count}"


def _shape(found: Simulation) -> dict[str, Any]:
    report = found.report
    return {
        "since": rfc3339(found.span.since),
        "until": rfc3339(found.span.until),
        "ticks": sum(task.ticks for task in report.tasks),
        "runs": sum(task.started for task in report.tasks),
        "tasks": [_task_shape(task) for task in report.tasks],
        "nodes": [_node_shape(node) for node in report.nodes],
        "shortages": [_shortage_shape(shortage) for shortage in report.shortages],
        "shortage_count": report.shortage_count,
        "herds": [_herd_shape(herd) for herd in report.herds],
        "herd_count": report.herd_count,
        "clock_changes": [
            {"at": rfc3339(change.at), "effect": change.effect, "task_count": change.tasks, "tasks": list(change.names)}
            for change in found.changes
        ],
    }


def _task_shape(task: TaskFigures) -> dict[str, Any]:
    return {
        "task": task.name,
        "took": seconds(task.took),
        "runs_seen": task.seen,
        "ticks": task.ticks,
        "excluded": task.excluded,
        "runs": task.started,
        "skipped": task.skipped,
        "queued": task.queued,
        "queue_full": task.queue_full,
        "replaced": task.replaced,
        "beside": task.beside,
        "first_overlap_at": rfc3339(task.first_overlap),
        "waited": task.waited,
        "longest_wait": seconds(task.longest_wait),
        "no_place": task.no_place,
        "waiting": task.waiting,
        "nowhere": task.nowhere,
    }


def _node_shape(node: NodeFigures) -> dict[str, Any]:
    return {
        "node": node.name,
        "slots": node.slots,
        "cpus": node.cpus,
        "memory": node.memory,
        "peak_runs": node.peak_runs,
        "peak_at": rfc3339(node.peak_at),
        "peak_cpus": node.peak_cpus,
        "peak_memory": node.peak_memory,
    }


def _shortage_shape(shortage: Shortage) -> dict[str, Any]:
    return {
        "since": rfc3339(shortage.begins),
        "until": rfc3339(shortage.ends),
        "waiting": shortage.waiting,
        "longest_wait": seconds(shortage.longest_wait),
        "tasks": list(shortage.names),
        "message": shortage.words,
    }


def _herd_shape(herd: Herd) -> dict[str, Any]:
    return {
        "at": rfc3339(herd.at),
        "within": seconds(herd.span),
        "starts": herd.starts,
        "task_count": herd.tasks,
        "tasks": list(herd.names),
    }
