"""What an engine says in the midst of a pull. The engine is a listener that says it, so that it can break off."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dts.docker.engine import Engine
from dts.domain.errors import Unavailable

BODY = b'{"ApiVersion": "1.41", "Os": "linux"}'
VERSION = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 37\r\n\r\n" + BODY
PROGRESS = b'{"status": "Downloading", "id": "abc"}\r\n'
DONE = b'{"status": "Status: Downloaded newer image for app:latest"}\r\n'


@asynccontextmanager
async def says(*chunks: bytes, whole: bool = True) -> AsyncIterator[tuple[Engine, list[str]]]:
    """An engine that answers a pull so, and the heads of what it was asked. whole: the answer has its end."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await head_of(reader):
            heads.append(head)
            if "/images/create" not in head:
                writer.write(VERSION)
                continue
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk in chunks:
                writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            writer.write(b"0\r\n\r\n" if whole else b"")
            await writer.drain()
            if not whole:
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        engine = Engine.connect(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            yield engine, heads
        finally:
            await engine.close()


async def head_of(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return ""


async def test_a_pull_is_done_when_the_engine_says_so_however_its_words_are_cut():
    async with says(PROGRESS, DONE[:20], DONE[20:]) as (engine, heads):
        await engine.pull("app")
    assert "fromImage=docker.io/library/app:latest" in heads[-1]


async def test_a_pull_that_breaks_off_is_no_success():
    async with says(PROGRESS, whole=False) as (engine, _):
        with pytest.raises(Unavailable, match="went away"):
            await engine.pull("app:1")


async def test_what_goes_wrong_in_the_midst_is_told():
    async with says(PROGRESS, b'{"error": "unexpected EOF", "errorDetail": {}}\r\n') as (engine, _):
        with pytest.raises(Unavailable, match="unexpected EOF"):
            await engine.pull("app:1")


@pytest.mark.parametrize("image", ["alpine:3", "team/app:1", "registry.example/app@sha256:" + "0" * 64])
async def test_a_login_goes_along_whatever_the_registry(image):
    login = {"username": "me", "password": "pw", "serveraddress": "x"}
    async with says(DONE) as (engine, heads):
        await engine.pull(image, login=login)
    header = next(line for line in heads[-1].splitlines() if line.startswith("X-Registry-Auth: "))
    assert json.loads(base64.urlsafe_b64decode(header.partition(": ")[2])) == login
    assert "tag=" not in heads[-1]
