"""The address of the database in an argument list, which everybody on the machine can read."""

from __future__ import annotations

import pytest

from dts.app.database import _without_password


@pytest.mark.parametrize(
    ("dsn", "shown", "password"),
    [
        ("postgresql://u@db/dts", "postgresql://u@db/dts", None),
        ("postgresql://u:p%40w@db:1/dts?sslmode=require", "postgresql://u@db:1/dts?sslmode=require", "p@w"),
        ("postgresql://u@db/dts?password=p%40w", "postgresql://u@db/dts", "p@w"),
        ("postgresql:///dts?password=pw&host=/run/pg", "postgresql:///dts?host=%2Frun%2Fpg", "pw"),
    ],
)
def test_a_password_goes_by_the_environment_wherever_it_stood(monkeypatch, dsn, shown, password):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    argument, environment = _without_password(dsn)
    assert (argument, environment.get("PGPASSWORD")) == (shown, password)
