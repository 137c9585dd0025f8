"""A service called over either transport, with a witness beside it.

The witness notes what reached the service and what the service answered. Each call is then held against it: the
request must have arrived, and the answer or the refusal come back, as it was, to the type of the last field.
What holds for both transports holds between them.
"""

import asyncio
import inspect
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, fields, is_dataclass

from dts.domain.errors import DtsError, InvalidArgument
from support.rpc import reach

SECONDS = 5.0


@dataclass
class Seen:
    """One call as the service saw it. over: set when the service's method has ended, however it ended."""

    requests: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    error: Exception | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Cases(dict):
    """The contract case of each method, by its name."""

    def __call__(self, case):
        self[case.__name__] = case
        return case


def methods(base):
    """The calls of a generated base class."""
    return [name for name, member in vars(base).items() if not name.startswith("_") and inspect.isfunction(member)]


@asynccontextmanager
async def reached(transport, base, stub_class, service):
    """The service as a caller of this transport has it."""
    witness, log = _witness(base, service)
    async with reach(transport, witness, stub_class) as callee:
        yield Contract(base, callee, log)


class Contract:
    """Has the methods of the service."""

    def __init__(self, base, callee, log):
        self._base = base
        self._callee = callee
        self._log = log

    def seen(self, method):
        """The latest call of a method."""
        return self._log[method][-1]

    def was_called(self, method):
        return bool(self._log.get(method))

    def __getattr__(self, name):
        call = self._stream if inspect.isasyncgenfunction(getattr(self._base, name)) else self._unary
        return lambda request: call(name, request)

    async def _unary(self, name, request):
        try:
            answer = await getattr(self._callee, name)(request)
        except DtsError as error:
            same_error(error, self.seen(name).error)
            same([request], self.seen(name).requests)
            raise
        same([request], self.seen(name).requests)
        same([answer], self.seen(name).answers)
        return answer

    async def _stream(self, name, request):
        count = 0
        try:
            async with aclosing(getattr(self._callee, name)(request)) as answers:
                async for answer in answers:
                    same(answer, self.seen(name).answers[count])
                    count += 1
                    yield answer
        except DtsError as error:
            same_error(error, self.seen(name).error)
            raise
        assert count == len(self.seen(name).answers)
        await asyncio.wait_for(self.seen(name).over.wait(), SECONDS)


async def released(contract, method):
    """Waits until the service's method is over."""
    await asyncio.wait_for(contract.seen(method).over.wait(), SECONDS)


async def refusal(contract, method, request):
    """The error with which a call is refused."""
    try:
        outcome = getattr(contract, method)(request)
        answer = [each async for each in outcome] if inspect.isasyncgen(outcome) else await outcome
    except DtsError as error:
        return error
    raise AssertionError(f"{method} took what it should refuse, and answered {answer}")


def same(left, right, path="message"):
    """Fails where two values differ, or have different types."""
    if {type(left), type(right)} != {int, float}:  # a whole number in a field of the type double is no mistake
        assert type(left) is type(right), f"{path}: {left!r} and {right!r}"
    if is_dataclass(left):
        for each in fields(left):
            same(getattr(left, each.name), getattr(right, each.name), f"{path}.{each.name}")
        assert left == right, path
    elif isinstance(left, list):
        assert len(left) == len(right), path
        for index, pair in enumerate(zip(left, right, strict=True)):
            same(*pair, f"{path}[{index}]")
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key, value in left.items():
            same(value, right[key], f"{path}[{key!r}]")
    else:
        assert left == right, f"{path}: {left!r} and {right!r}"


def same_error(error, raised):
    """Fails unless the caller got what the service raised, and that is one of our errors."""
    assert isinstance(raised, DtsError), f"the service raised {raised!r}"
    assert (type(error), error.code, error.message) == (type(raised), raised.code, raised.message)
    if isinstance(error, InvalidArgument):
        assert error.violations == raised.violations


def _witness(base, service):
    log = {}
    members = {name: _noted(name, base, getattr(service, name), log) for name in methods(base)}
    return type(f"Witnessed{type(service).__name__}", (base,), members)(), log


def _noted(name, base, method, log):
    async def unary(_self, message):
        with _Noting(log, name) as seen:
            seen.requests.append(message)
            answer = await method(message)
            seen.answers.append(answer)
            return answer

    async def stream(_self, message):
        with _Noting(log, name) as seen:
            if hasattr(message, "__aiter__"):
                message = _passing(message, seen.requests)
            else:
                seen.requests.append(message)
            async with aclosing(method(message)) as answers:
                async for answer in answers:
                    seen.answers.append(answer)
                    yield answer

    return stream if inspect.isasyncgenfunction(getattr(base, name)) else unary


class _Noting:
    def __init__(self, log, name):
        self._seen = Seen()
        log.setdefault(name, []).append(self._seen)

    def __enter__(self):
        return self._seen

    def __exit__(self, _kind, error, _trace):
        self._seen.error = error
        self._seen.over.set()


async def _passing(messages, noted):
    async for message in messages:
        noted.append(message)
        yield message
