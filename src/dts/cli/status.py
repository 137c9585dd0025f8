"""`dts status`."""

from __future__ import annotations

from dts.cli.errors import Failed
from dts.cli.output import FORMAT, Format, show
from dts.cli.typers import single

app = single()


@app.command()
def status(form: Format = FORMAT) -> None:
    """Is every part well? Exit code 1 if not."""
    from dts.cli.client import Client, call
    from dts.pb.dts.v1 import GetStatusRequest, PartStatus

    async def work(client: Client) -> list[PartStatus]:
        return (await client.scheduler.get_status(GetStatusRequest())).parts

    parts = call(work)
    shapes = [{"part": part.part, "well": part.well, "detail": part.detail} for part in parts]
    table = [(part.part, "well" if part.well else "NOT WELL", part.detail) for part in parts]
    show(shapes, table, ("PART", "", ""), form, empty="no part answered")
    if not parts or not all(part.well for part in parts):
        raise Failed
