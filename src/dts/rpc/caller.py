"""Whose call is under way: set by the server around each call, and carried to whatever is called in its course."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dts.domain import access
from dts.domain.access import SELF, Caller
from dts.rpc.auth import ACTOR, SCOPE

_CALLER: ContextVar[Caller] = ContextVar("caller", default=SELF)


def current() -> Caller:
    """Whoever made the call under way; this process itself where there is none."""
    return _CALLER.get()


def actor() -> str:
    """Who the changes of the call under way are attributed to."""
    return current().name


def check_node(node_id: str) -> None:
    """Lets the caller do the work of a node.

    Raises:
        PermissionDenied: its certificate is for another node.
    """
    access.check_node(current(), node_id)


@contextmanager
def acting_as(caller: Caller) -> Iterator[None]:
    """Inside it the call is this caller's, in this process and behind channels that carry it on."""
    before = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(before)


def on_behalf() -> dict[str, str]:
    """The metadata that says for whom a call is made; empty if it is for nobody but this process."""
    caller = current()
    if caller is SELF or caller.scope is None:
        return {}
    return {ACTOR: caller.name, SCOPE: access.scope_word(caller.scope)}
