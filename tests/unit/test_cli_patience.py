"""How long a command bears that nothing answers."""

from __future__ import annotations

import pytest

from dts.cli.patience import QUIET_SECONDS, SAME_PLACE, Patience, asked, requested, watched
from dts.domain.errors import DeadlineExceeded, DtsError, Internal, NotFound, ResourceExhausted, Unavailable

BOUND = 60.0
GONE = Unavailable("here:1 cannot be reached: Connection refused")
LOST = Unavailable("the connection to here:1 was lost", code="connection.lost")
BUSY = ResourceExhausted("1000 calls are under way, which is the limit", code="server.busy")
LATE = DeadlineExceeded("no answer from here:1 in time")


class World:
    """A clock that moves while somebody rests, and a server that fails as told."""

    def __init__(self, *failures: DtsError | str, seconds: float = BOUND) -> None:
        self.now, self.rests = 100.0, list[float]()
        self.says = list(failures)
        self.patience = Patience(seconds, monotonic=lambda: self.now, chance=lambda: 0.5, sleep=self.rest)

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    async def call(self) -> str:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, DtsError):
            raise said
        return said

    async def stream(self):
        yield await self.call()
        yield await self.call()


@pytest.mark.parametrize("error", [LOST, LATE])
async def test_a_lost_answer_is_asked_for_again_without_a_word(error, capsys):
    world = World(error, GONE, "done")
    assert await asked(world.call, world.patience) == "done"
    assert len(world.rests) == 2
    assert 0 < world.rests[0] < world.rests[1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [GONE, NotFound("no run"), Internal("a bug")])
async def test_what_cannot_be_reached_at_first_or_says_no_is_not_asked_again(error):
    world = World(error)
    with pytest.raises(type(error)):
        await asked(world.call, world.patience)
    assert world.rests == []


async def test_an_absence_is_told_once_it_is_long_and_ends_at_the_bound(capsys):
    world = World("begun", GONE)
    assert await asked(world.call, world.patience) == "begun"
    with pytest.raises(Unavailable):
        await asked(world.call, world.patience)
    assert world.now == pytest.approx(100.0 + BOUND)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("waiting for dts, for ")
    assert GONE.message in line
    assert max(world.rests) <= QUIET_SECONDS


async def test_each_absence_has_the_whole_bound_and_the_end_of_a_told_one_is_told(capsys):
    absence = [GONE] * 12
    world = World("begun", *absence, "back", *absence, "back again", seconds=BOUND)
    for answer in ("begun", "back", "back again"):
        assert await asked(world.call, world.patience) == answer
    assert world.now - 100.0 > BOUND * 1.2
    assert [line.split(" ", 1)[0] for line in capsys.readouterr().err.splitlines()] == ["waiting", "dts"] * 2


async def test_a_stream_that_breaks_off_is_opened_anew():
    world = World("one", LOST, GONE, "one", "two")
    assert [said async for said in watched(world.stream, world.patience)] == ["one", "one", "two"]


async def test_a_server_that_is_full_of_those_who_come_back_is_asked_again_later():
    world = World("one", LOST, BUSY, "one", "two")
    assert [said async for said in watched(world.stream, world.patience)] == ["one", "one", "two"]
    with pytest.raises(ResourceExhausted):
        await asked(World(BUSY).call, World(BUSY).patience)


async def test_a_refusal_ends_a_stream_that_was_broken_off():
    world = World("one", LOST, NotFound("no run"))
    with pytest.raises(NotFound):
        async for _ in watched(world.stream, world.patience):
            pass


@pytest.mark.parametrize(("failures", "open_"), [([LOST, GONE], True), ([LATE], True), ([GONE], False)])
async def test_what_may_have_been_done_all_the_same_is_told_with_what_shows_it(capsys, failures, open_):
    world = World(*failures, seconds=5.0)
    with pytest.raises(type(failures[-1])):
        await requested(world.call, world.patience, look="dts run show x")
    assert ("`dts run show x`" in capsys.readouterr().err) is open_


async def test_a_stream_that_breaks_at_the_same_place_again_and_again_is_given_up():
    world = World("begun", LATE)
    world.call = iter_calls(["begun", LATE] * 100)
    heard = []
    with pytest.raises(DeadlineExceeded):
        await listen(watched(world.stream, world.patience), heard)
    assert heard == ["begun"] * (SAME_PLACE + 1)


async def test_a_stream_that_stands_for_long_may_break_as_often_as_it_likes():
    world = World("begun", LATE)
    calls = iter_calls([*["begun", LATE] * 3 * SAME_PLACE, "done", "end"])

    async def call():
        world.now += QUIET_SECONDS
        return await calls()

    world.call = call
    assert [answer async for answer in watched(world.stream, world.patience)][-2:] == ["done", "end"]


def iter_calls(says):
    """A server that says these one after the other."""
    left = iter(says)

    async def call():
        said = next(left)
        if isinstance(said, DtsError):
            raise said
        return said

    return call


async def listen(answers, heard):
    async for answer in answers:
        heard.append(answer)
