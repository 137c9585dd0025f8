"""One lab and one deployed stack for all tests of this folder."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from swarm.lab import Lab, NoLab, running_lab
from swarm.stack import Stack


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A Swarm of three nodes; where none can be had, `make test-swarm` fails rather than passes."""
    try:
        with running_lab() as lab:
            yield lab
    except NoLab as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def stack(lab: Lab) -> Stack:
    """dts on it."""
    stack = Stack(lab)
    begun = time.monotonic()
    stack.deploy()
    assert stack.all_well(), stack.what_is_wrong()
    stack.seconds_to_well = time.monotonic() - begun
    return stack
