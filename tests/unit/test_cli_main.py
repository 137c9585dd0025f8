"""How the command line begins and ends: help without waiting, errors as two lines and an exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dts.cli.errors import Failed, exit_code_of
from dts.cli.main import COMMANDS, _split_debug, run
from dts.domain import errors
from dts.domain.errors import InvalidArgument, Violation

HEAVY = ("grpclib", "betterproto2", "asyncpg", "aiohttp", "aiodocker", "asyncio", "yaml", "rich", "questionary")
GROUPS = {
    "task": [
        "create",
        "list",
        "show",
        "edit",
        "set",
        "pause",
        "resume",
        "delete",
        "history",
        "trigger",
        "backfill",
        "preview",
    ],
    "run": ["list", "show", "logs", "cancel", "retry", "wait"],
    "node": ["list", "show", "drain", "resume"],
    "db": ["migrate", "status", "dump"],
}


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS), ["task", "create", "-h"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from dts.cli.main import run; code = run(sys.argv[1:]); "
        f"print(code, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "0 []"
    assert "Usage: dts" in done.stdout


def test_every_command_of_the_contract_is_there(capsys):
    assert run(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in COMMANDS)
    for group, names in GROUPS.items():
        assert run([group, "--help"]) == 0
        listed = capsys.readouterr().out
        assert all(f"\n  {name} " in listed for name in names), group


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_is_told(capsys, words):
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("dts 0.")


@pytest.mark.parametrize(
    "words",
    [
        ["taks"],
        ["task", "lits"],
        ["task", "list", "--nonsense"],
        ["task", "list", "-o", "xml"],
        ["task", "create", "x", "--noop", "--retries", "4294967297"],
        ["run", "list", "--limit", "0"],
        ["run", "show"],
        ["apply"],
        ["serve"],
        ["task", "set", "x"],
    ],
)
def test_wrong_use_is_told_without_a_stack_trace_and_exits_with_2(capsys, words):
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidArgument.of("f", "c", "m"), 2),
        (errors.NotFound("m"), 3),
        (errors.Unavailable("m"), 4),
        (errors.DeadlineExceeded("m"), 4),
        (errors.Unauthenticated("m"), 5),
        (errors.PermissionDenied("m"), 5),
        (errors.AlreadyExists("m"), 1),
        (errors.Conflict("m"), 1),
        (errors.FailedPrecondition("m"), 1),
        (errors.ResourceExhausted("m"), 1),
        (errors.Internal("m"), 1),
        (RuntimeError("m"), 1),
    ],
)
def test_each_error_has_its_exit_code_and_is_told_in_lines(capsys, error, code):
    assert exit_code_of(error, debug=False) == code
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert first.endswith("m")
    assert len(rest) <= 1
    assert all(line.startswith("  ") for line in rest)


@pytest.mark.parametrize(
    ("error", "server", "advice"),
    [
        (errors.Unavailable("gone"), "", "`dts dev` starts one here"),
        (errors.Unavailable("gone"), "manager-1:7461", "is it running there? DTS_SERVER says where"),
        (errors.Unavailable("slow", code="token.lookup"), "manager-1:7461", "does not reach the role database"),
        (errors.Unavailable("no", code="database.refuses"), "", "DTS_DSN_PASSWORD_FILE"),
        (errors.AlreadyExists("twice", code="task.exists"), "", "`dts task set`"),
    ],
)
def test_what_to_do_fits_what_went_wrong(monkeypatch, capsys, error, server, advice):
    monkeypatch.setenv("DTS_SERVER", server)
    exit_code_of(error, debug=False)
    assert advice in capsys.readouterr().err


def test_a_token_of_the_same_name_is_not_answered_with_advice_for_tasks(capsys):
    exit_code_of(errors.AlreadyExists("revoke it first", code="token.exists"), debug=False)
    assert capsys.readouterr().err == "error: revoke it first\n"


@pytest.mark.parametrize(("typed", "meant"), [(["tasks", "list"], "task"), (["task", "crate"], "create")])
def test_a_command_that_is_not_there_names_the_one_that_was_meant(capsys, typed, meant):
    assert run(typed) == 2
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err


@pytest.mark.parametrize("group", ["task", "run", "node", "token", "pki", "db"])
def test_the_help_of_a_group_cuts_no_sentence(capsys, group):
    run([group, "--help"])
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (typer.Abort(), 130), (Failed(), 1)])
def test_what_was_told_already_is_not_told_again(capsys, error, code):
    assert exit_code_of(error, debug=False) == code
    assert capsys.readouterr() == ("", "")


def test_every_violation_has_a_line(capsys):
    exit_code_of(InvalidArgument([Violation("a", "x", "is wrong"), Violation("b", "y", "is too")]), debug=False)
    assert capsys.readouterr().err.splitlines() == ["error: a: is wrong", "error: b: is too"]


def test_an_error_cannot_write_to_the_terminal_as_it_likes(capsys):
    exit_code_of(errors.NotFound("no task \x1b[2J\nerror: faked"), debug=False)
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "error: faked" not in told.splitlines()


def test_a_full_disk_is_nobodys_bug(capfd):
    saved = os.dup(1)
    try:
        assert exit_code_of(OSError(errno.ENOSPC, "No space left on device"), debug=False) == 1
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    told = capfd.readouterr().err
    assert "No space left on device" in told
    assert "bug" not in told


TROUBLE = [
    (errors.FailedPrecondition("the task cannot be read"), 2),
    (errors.Internal("a bug"), 2),
    (errors.Conflict("somebody was first"), 2),
    (OSError(28, "No space left on device"), 2),
    (RuntimeError("a bug of ours"), 2),
    (InvalidArgument.of("--to", "span.range", "is too long"), 2),
    (errors.NotFound("no task"), 3),
    (errors.Unavailable("gone"), 4),
    (errors.Unauthenticated("who?"), 5),
]


@pytest.mark.parametrize(("error", "code"), TROUBLE, ids=[type(error).__name__ for error, _ in TROUBLE])
def test_a_difference_alone_has_the_exit_code_of_one(monkeypatch, capsys, error, code):
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("dts.cli.client.call", fails)
    assert run(["diff", "-f", "-"]) == code
    assert capsys.readouterr().err.startswith("error: ")


def int_of(text: str) -> int:
    raise RuntimeError(text)


def test_a_trace_is_shown_if_somebody_asks(capsys):
    with pytest.raises(RuntimeError) as caught:
        int_of("nothing")
    exit_code_of(caught.value, debug=True)
    assert "int_of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "left", "debug"),
    [
        (["task", "list"], ["task", "list"], False),
        (["--debug", "task", "list"], ["task", "list"], True),
        (["task", "list", "--debug"], ["task", "list"], True),
        (["task", "create", "x", "--", "p", "--debug"], ["task", "create", "x", "--", "p", "--debug"], False),
        (["--debug", "x", "--", "--debug"], ["x", "--", "--debug"], True),
    ],
)
def test_debug_may_stand_anywhere_before_the_command_of_a_task(given, left, debug):
    assert _split_debug(given) == (left, debug)


@pytest.mark.parametrize(
    "words",
    [
        ["task", "create"],
        ["task", "show"],
        ["task", "trigger"],
        ["task", "delete"],
        ["task", "pause"],
        ["task", "preview"],
        ["task", "edit", "x"],
    ],
)
def test_without_a_terminal_nothing_is_asked(words):
    done = subprocess.run(
        [sys.executable, "-m", "dts", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DTS_SERVER": "127.0.0.1:1"},
        timeout=30,
    )
    # Not 4: it is looked at before any server is.
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_is_not_there_is_told_in_two_lines():
    done = subprocess.run(
        [sys.executable, "-m", "dts", "status"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DTS_SERVER": "127.0.0.1:1"},
        timeout=30,
    )
    assert done.returncode == 4
    first, second = done.stderr.splitlines()
    assert "127.0.0.1:1" in first
    assert "DTS_SERVER" in second


def test_a_reader_that_has_gone_makes_no_noise():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "dts", "--help"], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_below_standard_output_is_told():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dts", "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_terminal_without_unicode_gets_escapes():
    code = "from dts import __main__ as m; m.run = lambda _: print('\u2713 \xd7'); m.main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u2713 \\xd7\n", "")
