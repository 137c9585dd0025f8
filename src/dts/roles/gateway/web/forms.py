"""Reads what a form sent, within bounds."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from aiohttp import web

from dts.domain.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted

FORM = "application/x-www-form-urlencoded"
LARGEST = 256 * 1024
FIELDS = 200
SENDING_SECONDS = 10.0
"""How long a form may take to arrive, as the head of a request may: a connection that waits is one that others lack."""


class Form(dict[str, str]):
    """Fields by name; what was not sent is empty. A name that comes twice has its last value."""

    def __missing__(self, name: str) -> str:
        return ""

    def text(self, name: str) -> str:
        """A field without the blanks around it."""
        return self[name].strip()


async def read_form(request: web.Request) -> Form:
    """The fields of a form.

    Raises:
        InvalidArgument: the body is no form.
        ResourceExhausted: it is too large.
        DeadlineExceeded: it does not come.
    """
    if request.content_type != FORM:
        raise InvalidArgument.of("form", "form.kind", f"is sent as {FORM}")
    try:
        async with asyncio.timeout(SENDING_SECONDS):
            body = await _body(request)
    except TimeoutError:
        raise DeadlineExceeded(f"the form was not here within {SENDING_SECONDS:g} s", code="form.slow") from None
    except web.RequestPayloadError as error:
        raise InvalidArgument.of("form", "form.truncated", "is no whole body of HTTP") from error
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError as error:
        raise InvalidArgument.of("form", "form.unreadable", "is not a form in UTF-8") from error
    # Browsers send the ends of lines as CR LF.
    return Form({name: value.replace("\r\n", "\n") for name, value in pairs})


async def _body(request: web.Request) -> bytearray:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            raise ResourceExhausted(f"the form has more than {LARGEST // 1024} KiB", code="form.large")
    return body
