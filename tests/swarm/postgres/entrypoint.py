#!/usr/bin/python3
"""Stands in for the official image's entry point: the variables and the volume that stack.yml uses, and no more."""

import os
import subprocess
from pathlib import Path

UID = GID = 999

data = Path(os.environ["PGDATA"])
user, database = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
password = os.environ["POSTGRES_PASSWORD_FILE"]
passwords = Path("/tmp/password")
passwords.write_bytes(Path(password).read_bytes())
os.chown(passwords, UID, GID)
data.mkdir(parents=True, exist_ok=True)
for path in (data, data.parent):
    os.chown(path, UID, GID)
data.chmod(0o700)
sockets = Path("/tmp/sockets")
sockets.mkdir(exist_ok=True)
os.chown(sockets, UID, GID)
os.setgroups([])
os.setgid(GID)
os.setuid(UID)
if not (data / "PG_VERSION").exists():
    new = data.with_name("new")
    subprocess.run(["rm", "-rf", str(new)], check=True)
    subprocess.run(
        [
            "initdb",
            "-D",
            str(new),
            "-U",
            user,
            f"--pwfile={passwords}",
            "--auth=scram-sha-256",
            "--locale=C",
            "-E",
            "UTF8",
        ],
        check=True,
    )
    with (new / "pg_hba.conf").open("a") as hba:
        hba.write("host all all all scram-sha-256\n")
    statement = f'CREATE DATABASE "{database}"'
    subprocess.run(["postgres", "--single", "-D", str(new), "postgres"], input=statement.encode(), check=True)
    data.rmdir()
    new.rename(data)
os.execvp(
    "postgres", ["postgres", "-D", str(data), "-c", "listen_addresses=*", "-c", f"unix_socket_directories={sockets}"]
)
