"""P12 and P13: what was printed is there, whole and in order; what is secret is nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from faults.checker.evidence import Evidence, gather
from faults.checker.words import short
from faults.model import Log, Observed, Violation

QUOTED = 40
"""How many characters of a strange line are shown."""


def p12_logs(observed: Observed) -> Iterator[Violation]:
    """A stored log is what was printed, or its beginning and end with the cut marked."""
    evidence = gather(observed)
    for log in observed.logs:
        row = evidence.rows.get(log.run_id)
        for stream, lines in (("stdout", log.stdout), ("stderr", log.stderr)):
            for what in _flaws(evidence, log, lines):
                yield Violation("P12", row.task if row else "", f"{stream} of try {log.number}: {what}", log.run_id)


def p13_secrets(observed: Observed) -> Iterator[Violation]:
    """No canary is in anything that a stranger might read. The sentence does not repeat it."""
    logs = [(f"the log of run {short(log.run_id)}", "\n".join([*log.stdout, *log.stderr])) for log in observed.logs]
    texts = [*((text.where, text.content) for text in observed.texts), *logs]
    for name, secret in observed.canaries.items():
        for where, content in texts:
            if secret and secret in content:
                yield Violation("P13", "", f"the secret {name} is in {where}, {content.count(secret)} times")


# -- logs


def _flaws(evidence: Evidence, log: Log, lines: Sequence[str]) -> Iterator[str]:
    head = _head(lines)
    asked = _asked(evidence, log)
    if head > max(asked, default=0):
        yield f"it has {head} lines, and {_counts(asked)} were printed"
        return
    rest = lines[head:]
    ended = any(one.number == log.number and one.ended for one in evidence.witnesses.get(log.run_id, ()))
    if not log.truncated and rest:
        yield f"after line {head} comes {rest[0][:QUOTED]!r}, and no cut is marked"
    elif not log.truncated and ended and head not in asked:
        yield f"it ends with line {head}, but {_counts(asked)} were printed, and no cut is marked"
    elif log.truncated:
        yield from _cut_flaws(rest, head, asked, ended=ended)


def _asked(evidence: Evidence, log: Log) -> set[int]:
    """How many lines the work of a log may have been asked to print."""
    row = evidence.rows.get(log.run_id)
    return {definition.lines for definition in evidence.definitions(row)} if row else set()


def _cut_flaws(rest: Sequence[str], head: int, asked: set[int], *, ended: bool) -> Iterator[str]:
    """What is wrong behind the cut: there may be pieces of two lines, and then the end of what was printed."""
    lasts = asked if ended else {_number(rest[-1]) if rest else 0}
    last = max(lasts, key=lambda last: _tail(rest, last), default=0)
    tail = _tail(rest, last)
    pieces = rest[: len(rest) - tail]
    if not _beside_cut(pieces, f"line {head + 1}", f"line {last - tail}"):
        yield f"behind line {head} and a cut comes {pieces[0][:QUOTED]!r}, which is not the end of what was printed"
    elif tail and head + tail > max(asked, default=0):
        yield f"lines before and behind the cut are the same: {head} and {tail} of {_counts(asked)}"


def _beside_cut(pieces: Sequence[str], before: str, behind: str) -> bool:
    """Whether lines are what a cut leaves of the lines at its ends: a piece of each, or both pieces in one line."""
    match pieces:
        case []:
            return True
        case [only]:
            return any(
                before.startswith(only[:place]) and behind.endswith(only[place:]) for place in range(len(only) + 1)
            )
        case [first, second]:
            return before.startswith(first) and behind.endswith(second)
        case _:
            return False


def _head(lines: Sequence[str]) -> int:
    """How many lines are the first ones, in order."""
    return next((place for place, line in enumerate(lines) if line != f"line {place + 1}"), len(lines))


def _tail(lines: Sequence[str], last: int) -> int:
    """How many lines are the last ones up to this, in order."""
    backwards = enumerate(reversed(lines))
    return next((place for place, line in backwards if line != f"line {last - place}"), len(lines))


def _number(line: str) -> int:
    """Of a whole line; 0 of a piece of one."""
    word, _, digits = line.partition(" ")
    return int(digits) if word == "line" and digits.isascii() and digits.isdigit() else 0


def _counts(asked: set[int]) -> str:
    return " or ".join(str(count) for count in sorted(asked)) or "no"
