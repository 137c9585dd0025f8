"""What a peer may ask of one server, in one place. A figure reached is refused, never absorbed."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

PUBLIC_MESSAGE_BYTES = MIB
"""The largest request a person's client may send."""

INTERNAL_MESSAGE_BYTES = 16 * MIB
"""The largest message between roles, in either direction: a batch of runs or of log chunks."""

PUBLIC_ENTRIES = 50_000
"""How many entries the lists and maps of a person's request may have together: a thousand tasks have fewer."""

INTERNAL_ROUTES = ("/dts.v1.DatabaseService/", "/dts.v1.SchedulerService/Attach")
"""Beginnings of the routes on which roles talk to each other."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server.

    public_message_bytes: largest request on a public route.
    internal_message_bytes: largest request on one of `INTERNAL_ROUTES`.
    public_entries: how many entries the lists and maps of a request on a public route may have together.
    connections: how many may be open at once; one more is closed at once.
    streams: how many calls one connection may have open; more are refused by HTTP/2 itself.
    calls: how many calls may be under way on the whole server.
    header_bytes: size of a list of headers as HPACK counts it.
    request_seconds: how long a call with a single request may take to send it.
    preface_seconds: how long a new connection may take to prove that it speaks HTTP/2.
    idle_seconds: a connection without calls and without a word for so long is closed.
    nuisances: frames that cost us and bring nothing (ping, settings, reset, priority, unknown) in `nuisance_seconds`.
    """

    public_message_bytes: int = PUBLIC_MESSAGE_BYTES
    internal_message_bytes: int = INTERNAL_MESSAGE_BYTES
    public_entries: int = PUBLIC_ENTRIES
    connections: int = 512
    streams: int = 256
    calls: int = 2048
    header_bytes: int = 16 * KIB
    request_seconds: float = 30.0
    preface_seconds: float = 10.0
    idle_seconds: float = 300.0
    nuisances: int = 3000
    nuisance_seconds: float = 60.0

    def message_bytes(self, route: str) -> int:
        """The largest request on this route, in bytes."""
        return self.internal_message_bytes if route.startswith(INTERNAL_ROUTES) else self.public_message_bytes
