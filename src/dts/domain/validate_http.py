"""Whether a request over HTTP is possible."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dts.domain.template import check_template
from dts.domain.validate_text import Findings, text_trouble, under
from dts.pb.dts.v1 import HttpKind

URL_LENGTH = 4096
BODY_BYTES = 32 * 1024
HEADERS = 64
HEADER_BYTES = 16 * 1024
STATUSES = 32
RESERVED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"}
)
"""Headers that say how the message is carried: they are not for a task to set."""

_HINT = "its host is no template and in ASCII, and credentials go into a header"
# Narrow, so that whoever reads it finds the same host in it.
_URL = re.compile(r"https?://(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+)(?::(?P<port>\d{1,5}))?(?P<rest>|[/?].*)", re.DOTALL)
_METHOD = re.compile(r"[A-Z][A-Z-]{0,15}", re.ASCII)
_TUNNELS = frozenset({"CONNECT", "TRACE"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)


def check_http(http: HttpKind, findings: Findings) -> None:
    """Every field of a request."""
    if wrong := url_trouble(http.url):
        findings.refuse("http.url", "http.url", wrong)
    if http.method and (not _METHOD.fullmatch(http.method) or http.method in _TUNNELS):
        findings.refuse("http.method", "http.method", "is a method in capitals such as GET, POST, PUT, PATCH or DELETE")
    _check_headers(http.headers, findings)
    _check_body(http.body, findings)
    if len(http.expect) > STATUSES or not all(100 <= status <= 599 for status in http.expect):
        findings.refuse("http.expect", "http.expect", f"are at most {STATUSES} status codes from 100 to 599")


def url_trouble(url: str) -> str | None:
    """What is wrong with an address, in a sentence; None if nothing is."""
    if trouble := text_trouble(url, lines=False) or check_template(url):
        return trouble
    match = _URL.fullmatch(url)
    if match is None or len(url) > URL_LENGTH or not 0 < int(match["port"] or 1) < 1 << 16:
        return f"is an address such as https://example.com/hook, of at most {URL_LENGTH} characters; {_HINT}"
    return "has a fragment, which is never sent" if "#" in match["rest"] else None


def _check_headers(headers: Mapping[str, str], findings: Findings) -> None:
    if len(headers) > HEADERS:
        findings.refuse("http.headers", "http.headers", f"are {len(headers)}; at most {HEADERS} are allowed")
        return
    for name, value in headers.items():
        path = under("http.headers", name)
        if not _HEADER.fullmatch(name):
            findings.refuse(path, "http.header", "is no name of a header")
        elif name.lower() in RESERVED:
            findings.refuse(path, "http.header", "is set by dts")
        elif trouble := text_trouble(value, lines=False) or check_template(value):
            findings.refuse(path, "http.header", trouble)
    if sum(len(name) + len(value) for name, value in headers.items()) > HEADER_BYTES:
        findings.refuse("http.headers", "http.headers", f"are larger than {HEADER_BYTES // 1024} KiB")


def _check_body(body: str, findings: Findings) -> None:
    if len(body.encode(errors="replace")) > BODY_BYTES:
        findings.refuse("http.body", "http.body", f"is larger than {BODY_BYTES // 1024} KiB")
    elif trouble := text_trouble(body) or check_template(body):
        findings.refuse("http.body", "http.body", trouble)
