"""Find what is shipped beside the code: `migrations/` and `proto/`."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from dts.domain.errors import Internal


def data_dir(name: str) -> Traversable:
    """The folder `name`, inside the wheel or at the top of the checkout.

    A wheel carries it as `dts/_<name>`; an editable install does not see what the wheel would carry, so the
    checkout is looked at second.

    Raises:
        Internal: it is in neither place, so dts was packaged wrongly.
    """
    inside = files("dts") / f"_{name}"
    if inside.is_dir():
        return inside
    checkout = Path(__file__).resolve().parents[3] / name
    if checkout.is_dir():
        return checkout
    raise Internal(f"{name}/ is neither in the installed package nor in a checkout: dts was packaged wrongly")
