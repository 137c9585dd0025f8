"""Signals to the processes of a command in a container: an engine cannot send them."""

from __future__ import annotations

import asyncio

from dts.docker.execs import ExecOutput, Execs
from dts.domain.errors import Conflict, DeadlineExceeded, NotFound, Unavailable

SIGNAL_SECONDS = 30.0
"""How long the shell in the container may take: it belongs to somebody else, and may do whatever it likes."""
SAID_BYTES = 4096

# All processes that have the marks of the attempt, and all below them: an engine cannot end a command. Who is not root
# may not read the environment of others, and root without CAP_SYS_PTRACE, as engines make it, not that of another user:
# hence the children by their parents, and one pass for each user. A parent that outlives its child for a moment may
# start another one, hence several rounds.
_SIGNAL = """\
rounds=$4
while test "$rounds" -gt 0; do
  found=' '
  for d in /proc/[0-9]*; do
    marks=$(tr '\\0' '\\n' 2>/dev/null < "$d/environ" | grep -cxe "$1" -e "$2")
    if test "$marks" = 2; then found="$found${d#/proc/} "; fi
  done
  if test "$found" = ' '; then break; fi
  more=1
  while test -n "$more"; do
    more=
    for d in /proc/[0-9]*; do
      case $found in *" ${d#/proc/} "*) continue ;; esac
      parent=0
      while read -r name value; do
        if test "$name" = PPid:; then parent=$value; break; fi
      done 2>/dev/null < "$d/status"
      case $found in *" $parent "*) found="$found${d#/proc/} "; more=1 ;; esac
    done
  done
  for pid in $found; do kill -s "$3" "$pid" 2>/dev/null; done
  rounds=$((rounds - 1))
done
exit 0
"""
_ROUNDS = {"TERM": 1, "KILL": 20}
_ROOT = frozenset({"0", "root", "0:0", "root:root"})


async def send_signal(
    execs: Execs, container: str, signal: str, *, marks: tuple[str, str], name: str, user: str
) -> None:
    """Signals, by a shell in the container, what has the marks in its environment, and all below it.

    Args:
        execs: of the engine.
        container: its id.
        signal: TERM or KILL.
        marks: two variables with their values.
        name: of the container, for messages.
        user: whom the command runs as; empty for the container's own.

    Raises:
        Unavailable: there is no shell, or the engine is away.
        DeadlineExceeded: the shell does not end.
    """
    script = ["sh", "-c", _SIGNAL, "sh", *marks, signal, str(_ROUNDS[signal])]
    for one in ["0"] if user in _ROOT else ["0", user]:
        config = {"Cmd": script, "User": one, "AttachStdout": True, "AttachStderr": True}
        try:
            exec_id = await execs.create(container, config)
            output = await execs.start(exec_id)
        except (NotFound, Conflict):
            return  # the container has ended, and the command with it
        said = await _said(output, name)
        if code := (await execs.look(exec_id)).exit_code:
            words = said.decode(errors="replace").strip()[:200]
            raise Unavailable(f"no signal can be sent in {name}: it takes sh, tr and grep there ({code}) {words}")


async def _said(output: ExecOutput, name: str) -> bytes:
    """The beginning of what a shell said until it ended."""
    said = bytearray()
    try:
        async with asyncio.timeout(SIGNAL_SECONDS):
            async for _, content in output.pieces():
                said += content[: SAID_BYTES - len(said)]
    except TimeoutError:
        raise DeadlineExceeded(f"the shell in {name} that sends signals does not end") from None
    finally:
        output.close()
    return bytes(said)
