"""`dts status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dts.cli.errors import Failed
from dts.cli.output import FORMAT, Format, show
from dts.cli.typers import single

if TYPE_CHECKING:
    from dts.cli.client import Client
    from dts.pb.dts.v1 import PartStatus

app = single()


@app.command()
def status(form: Format = FORMAT) -> None:
    """Is every part well? Exit code 1 if not."""
    from dts.cli.client import call

    parts = call(_parts)
    shapes = [{"part": part.part, "well": part.well, "detail": part.detail} for part in parts]
    table = [(part.part, "well" if part.well else "NOT WELL", part.detail) for part in parts]
    show(shapes, table, ("PART", "", ""), form, empty="no part answered")
    if not parts or not all(part.well for part in parts):
        raise Failed


async def _parts(client: Client) -> list[PartStatus]:
    """How each part is, those among them that do not answer.

    Raises:
        DtsError: nothing answers at the address of the server, or it does not let us in.
    """
    from dts.domain.errors import DeadlineExceeded, DtsError, Unavailable
    from dts.pb.dts.v1 import GetStatusRequest, ListTasksRequest, PartStatus

    silent: list[DtsError] = []
    definition, found = PartStatus(part="definition", well=True, detail="answers"), list[PartStatus]()
    try:
        await client.tasks.list_tasks(ListTasksRequest(page_size=1))
    except (Unavailable, DeadlineExceeded) as error:
        silent.append(error)
        definition = PartStatus(part="definition", well=False, detail=error.message)
    try:
        found = (await client.scheduler.get_status(GetStatusRequest())).parts
    except (Unavailable, DeadlineExceeded) as error:
        silent.append(error)
        found = [PartStatus(part="scheduler", well=False, detail=error.message)]
    if len({error.message for error in silent}) == 1 and len(silent) == 2:
        raise silent[0]  # what does not answer is the server itself
    return [definition, *found]
