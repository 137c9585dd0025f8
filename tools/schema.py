"""Writes migrations/schema.sql, what all migrations make together; with --check, says whether it is stale."""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from dts.app.database import migrate_database
from dts.store.embedded import EmbeddedPostgres

FILE = Path(__file__).resolve().parents[1] / "migrations" / "schema.sql"
HEAD = "-- The schema after all migrations, for reading; written by `make schema`, never run.\n\n"
# What changes from release to release, from day to day, or says nothing.
NOISE = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\..*|\\(un)?restrict .*)\n", re.MULTILINE)


def main() -> int:
    """Returns 1 if the file is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    schema = HEAD + asyncio.run(dump())
    if not check:
        FILE.write_text(schema, "utf-8")
    elif not FILE.exists() or FILE.read_text("utf-8") != schema:
        print("migrations/schema.sql is stale; run `make schema`")
        return 1
    return 0


async def dump() -> str:
    """The schema of a fresh database that was migrated."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)  # noqa: ASYNC240 - nothing else runs
        async with EmbeddedPostgres(data_dir=Path(name) / "postgres") as server:
            await migrate_database(server.dsn())
            command = [server.home.binaries / "pg_dump", "--schema-only", "--no-owner", f"--dbname={server.dsn()}"]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: ASYNC221 - nothing else runs
    return re.sub(r"\n{3,}", "\n\n", NOISE.sub("", text)).strip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
