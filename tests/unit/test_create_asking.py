"""The questions about each kind of work, and what becomes of the answers."""

from __future__ import annotations

import pytest

from dts.cli import ask, create_asking
from dts.cli.create_kind import Work, kind_from
from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import CreateTaskResponse


class Server:
    """Takes everything but what it is told to refuse."""

    def __init__(self, *refused):
        self.refused = list(refused)
        self.tasks = self

    async def create_task(self, request):  # noqa: ARG002 - the contract has one
        if self.refused:
            raise InvalidArgument.of("kind", "kind.wrong", self.refused.pop())
        return CreateTaskResponse()


@pytest.fixture
def answers(monkeypatch):
    """Answers by the beginning of the question; what is asked beside them fails the test."""
    given = {}

    async def text(question, *, field, default="", check=None):  # noqa: ARG001
        answer = next((answer for begin, answer in given.items() if question.startswith(begin)), None)
        assert answer is not None, question
        assert check is None or check(answer) is None, question
        return answer or default

    async def choose(question, choices, *, field):  # noqa: ARG001
        return next(choice for choice in choices if choice.startswith(given["kind"]))

    monkeypatch.setattr(ask, "text", text)
    monkeypatch.setattr(ask, "choose", choose)
    return given


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("container", {"Image:": "alpine:3", "Command, or": ""}, Work(image="alpine:3")),
        (
            "container",
            {"Image:": "alpine:3", "Command, or": "echo 'a b'"},
            Work(image="alpine:3", command=("echo", "a b")),
        ),
        ("process", {"Command:": "date > now"}, Work(process=True, command=("sh", "-c", "date > now"))),
        ("service", {"Copy": "web_app", "Command, or": ""}, Work(service="web_app")),
        ("service", {"Copy": "", "Image:": "a", "Command, or": "b"}, Work(swarm=True, image="a", command=("b",))),
        ("exec", {"In which": "service/db", "Command:": "vacuumdb"}, Work(exec="service/db", command=("vacuumdb",))),
        ("http", {"URL:": "https://x.example", "Method:": ""}, Work(http="https://x.example", method="GET")),
        (
            "http",
            {"URL:": "https://x.example", "Method:": "POST", "Body": "{}"},
            Work(http="https://x.example", method="POST", body="{}"),
        ),
        ("noop", {}, Work(noop=True)),
    ],
)
async def test_each_kind_is_asked_for_what_it_needs(answers, kind, said, expected):
    answers.update({"kind": kind, **said})
    work = await create_asking.asked_work(Server(), Work())
    assert work == expected
    assert kind_from(work) is not None


async def test_what_was_said_already_is_not_asked_again(answers):
    assert await create_asking.asked_work(Server(), Work(noop=True)) == Work(noop=True)
    answers.update({"kind": "process"})
    assert (await create_asking.asked_work(Server(), Work(command=("true",)))).process


async def test_what_the_server_refuses_is_told_and_asked_again(answers, capsys):
    answers.update({"kind": "container", "Image:": "alpine:3", "Command, or": ""})
    await create_asking.asked_work(Server("is no image"), Work())
    assert "is no image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("0 3 * * *", (("0 3 * * *",), (), ())),
        ("@daily", (("@daily",), (), ())),
        ("5m", ((), ("5m",), ())),
        ("+10m", ((), (), ("+10m",))),
        ("2026-12-24T18:00", ((), (), ("2026-12-24T18:00",))),
    ],
)
def test_a_schedule_is_told_by_its_form(line, rules):
    assert create_asking._rules(line) == rules
