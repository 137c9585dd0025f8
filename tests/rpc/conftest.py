"""What the tests of calls can ask for."""

import pytest


@pytest.fixture(params=["direct", "wire"])
def transport(request):
    """The service's object itself, and a stub over a socket."""
    return request.param
