"""References to images, by the grammar of the distribution project (reference/regexp.go)."""

from __future__ import annotations

import re

NAME_LENGTH = 255

HUB = "docker.io"

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_NAME = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9a-f]{64}", re.ASCII)


def check_image(text: str) -> str | None:
    """What is wrong with a reference, in a sentence; None if nothing is."""
    name, tag, digest = split_image(text)
    if wrong := _check_name(name):
        return wrong
    if tag is not None and not _TAG.fullmatch(tag):
        return "has a tag that is not 1 to 128 letters, digits and . _ -"
    if digest is not None and not _DIGEST.fullmatch(digest):
        return "has a digest that is not sha256: with 64 hexadecimal digits in lower case"
    return None


def whole_name(image: str) -> str:
    """A reference as the engine completes it: `alpine` is `docker.io/library/alpine:latest`.

    By this form an engine is asked: it would take `cafe` for the beginning of an identifier, too.
    """
    name, tag, digest = split_image(image)
    host, slash, path = name.partition("/")
    if not slash or not ({*".:"} & {*host} or host == "localhost" or host != host.lower()):
        host, path = HUB, name
    if {*".:"} & {*host}:
        host = host.lower()
    if host == f"index.{HUB}":
        host = HUB
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    shown = f":{tag}" if tag is not None else "" if digest is not None else ":latest"
    return f"{host}/{path}{shown}" + (f"@{digest}" if digest is not None else "")


def split_image(text: str) -> tuple[str, str | None, str | None]:
    """Name, tag and digest; None for what is not there."""
    rest, at, digest = text.partition("@")
    slash = rest.rfind("/")
    colon = rest.rfind(":")
    if colon <= slash:
        return rest, None, digest if at else None
    return rest[:colon], rest[colon + 1 :], digest if at else None


def _check_name(name: str) -> str | None:
    if not name:
        return "names no image; it is one such as alpine:3.20"
    if len(name) > NAME_LENGTH:
        return f"has a name of {len(name)} characters; at most {NAME_LENGTH} are allowed"
    if _IDENTIFIER.fullmatch(name) or name == "sha256":
        return "is the identifier of an image, which other nodes do not know; it is NAME[:TAG][@DIGEST]"
    if not _NAME.fullmatch(name):
        return "is no image reference: it is NAME[:TAG][@DIGEST] with a name in lower case, such as registry/team/app:2"
    return None
