"""Spans of a run arrive at a collector, and the log of the run says which run it is about."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.postgres import TestServer, open_directory
from support.system import dev


async def test_a_run_is_one_trace_at_the_collector_and_has_its_lines_in_the_log(postgres: TestServer):
    spans = []

    async def take(request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await request.read())
        for resource in message.resource_spans:
            spans.extend(span for scope in resource.scope_spans for span in scope.spans)
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector = f"http://127.0.0.1:{runner.addresses[0][1]}"
    dsn = await postgres.create()
    with open_directory() as data:
        settings = {
            "DTS_DSN": dsn,
            "DTS_TRACES": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "DTS_LOG": "json",
            "DTS_LOG_LEVEL": "DEBUG",
        }
        async with dev(data, environment=settings) as system:
            await system.dts("task", "create", "bad", "--process", "--", "sh", "-c", "echo $TRACEPARENT; exit 3")
            run_id = UUID((await system.dts("task", "trigger", "bad")).out.split()[-1])
            assert (await system.dts("run", "wait", str(run_id))).code == 1
            told = (await system.dts("run", "logs", str(run_id))).out.strip()
            assert await system.programs["dev"].stop() == 0  # what is left is sent now
        log = await asyncio.to_thread((data / "dts.log").read_text)
    await postgres.drop(dsn)
    await runner.cleanup()
    ours = {span.name: span for span in spans if span.trace_id == run_id.bytes}
    assert ours.keys() == {"tick", "claim", "run"}
    assert not ours["tick"].parent_span_id
    assert ours["claim"].parent_span_id == ours["tick"].span_id
    assert ours["run"].parent_span_id == ours["claim"].span_id
    assert told == f"00-{run_id.hex}-{ours['run'].span_id.hex()}-01"
    assert ours["run"].status.message == "it ended with exit code 3"
    lines = [json.loads(line) for line in log.splitlines()]
    said = [(line["message"], line["task"], line["attempt"]) for line in lines if line.get("run") == str(run_id)]
    assert ("started", "bad", 1) in said
    assert ("ended", "bad", 1) in said
