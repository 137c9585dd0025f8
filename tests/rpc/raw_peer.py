"""A peer that says on the wire whatever a test wants it to say."""

import asyncio
import struct
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from support.rpc import LOOPBACK, TOKEN

SECONDS = 5.0
GET_RUN = "/dts.v1.SchedulerService/GetRun"
USUAL = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": GET_RUN.encode(),
    b":authority": b"test",
    b"te": b"trailers",
    b"content-type": b"application/grpc",
    b"authorization": f"Bearer {TOKEN}".encode(),
}


def framed(body=b"", *, flag=0, length=None):
    """A message as gRPC frames it; the length may lie."""
    return struct.pack(">BI", flag, len(body) if length is None else length) + body


class RawPeer:
    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
            )
        )
        self.headers = {}
        self.data = {}
        self.ended = set()
        self.resets = {}
        self.goaway = None
        self.gone = False

    def greet(self):
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.write(self.h2.data_to_send())

    def write(self, data):
        self._writer.write(data)

    def request(self, *, body=None, end=True, drop=(), **changes):
        """Starts a call; `changes` are headers by name (`_` for `-`), `drop` those to leave out. Returns its stream."""
        headers = {name: value for name, value in USUAL.items() if name.decode().strip(":") not in drop}
        for name, value in changes.items():
            pseudo = b":" if b":" + name.encode() in USUAL else b""
            headers[pseudo + name.replace("_", "-").encode()] = value
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, list(headers.items()), end_stream=body is None and end)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    async def pump(self):
        """Takes one piece of what the server says."""
        data = await self._reader.read(65536)
        if not data:
            self.gone = True
            return
        for event in self.h2.receive_data(data):
            self._note(event)
        self.flush()

    def _note(self, event):
        match event:
            case ResponseReceived() | TrailersReceived():
                self.headers.setdefault(event.stream_id, {}).update(dict(event.headers))
            case DataReceived():
                self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
            case StreamEnded():
                self.ended.add(event.stream_id)
            case StreamReset():
                self.resets[event.stream_id] = event.error_code
            case ConnectionTerminated():
                self.goaway = event.error_code

    async def until(self, true):
        async with asyncio.timeout(SECONDS):
            while not true():
                assert not self.gone, "the server has closed the connection"
                await self.pump()

    async def status(self, stream):
        """The gRPC status with which a call ended, or its HTTP status where it was none."""
        await self.until(lambda: stream in self.ended)
        headers = self.headers[stream]
        return int(headers["grpc-status"]) if "grpc-status" in headers else {"http": int(headers[":status"])}

    async def closed(self, seconds=SECONDS):
        """Waits until the server has closed the connection."""
        async with asyncio.timeout(seconds):
            while not self.gone:
                try:
                    await self.pump()
                except ConnectionError:
                    self.gone = True


@asynccontextmanager
async def raw_peer(port, *, greet=True):
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    peer = RawPeer(reader, writer)
    if greet:
        peer.greet()
    try:
        yield peer
    finally:
        writer.transport.abort()
