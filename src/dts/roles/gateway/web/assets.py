"""What a browser keeps: style, script and icon, under addresses that change with their content."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _Asset:
    kind: str
    plain: bytes
    packed: bytes


class Assets:
    """The files of `static`, read once."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._assets: dict[str, _Asset] = {}
        for file in sorted(FOLDER.iterdir()):
            plain = file.read_bytes()
            path = f"/static/{hashlib.sha256(plain).hexdigest()[:12]}/{file.name}"
            self._paths[file.name] = path
            self._assets[path] = _Asset(TYPES[file.suffix], plain, gzip.compress(plain, mtime=0))

    def path(self, name: str) -> str:
        """Where a file is."""
        return self._paths[name]

    async def serve(self, request: web.Request) -> web.Response:
        """A file; one of another version is not there."""
        asset = self._assets.get(request.path)
        if asset is None:
            return web.Response(status=404, text="no such file\n", headers={"Cache-Control": "no-store"})
        headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=asset.plain, content_type=asset.kind, charset="utf-8", headers=headers)
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.packed, content_type=asset.kind, charset="utf-8", headers=headers)
