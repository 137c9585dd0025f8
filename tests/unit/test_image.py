from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dts.domain.image import check_image, split_image, whole_name

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("alpine", ("alpine", None, None)),
        ("alpine:3.20", ("alpine", "3.20", None)),
        ("library/alpine", ("library/alpine", None, None)),
        ("localhost:5000", ("localhost", "5000", None)),
        ("localhost:5000/app", ("localhost:5000/app", None, None)),
        ("registry.example.com:5000/team/app:v1.2_x-Y", ("registry.example.com:5000/team/app", "v1.2_x-Y", None)),
        (f"ghcr.io/o/app@{DIGEST}", ("ghcr.io/o/app", None, DIGEST)),
        (f"app:1@{DIGEST}", ("app", "1", DIGEST)),
        ("[::1]:5000/app", ("[::1]:5000/app", None, None)),
        ("[2001:db8::1]/app:2", ("[2001:db8::1]/app", "2", None)),
        ("a__b/c-d/e---f/g.h", ("a__b/c-d/e---f/g.h", None, None)),
        ("Registry.Example/app", ("Registry.Example/app", None, None)),
        ("app:" + "t" * 128, ("app", "t" * 128, None)),
        ("a" * 255, ("a" * 255, None, None)),
    ],
)
def test_references_of_the_distribution_grammar_are_accepted(text, parts):
    assert check_image(text) is None
    assert split_image(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":tag",
        "@",
        f"@{DIGEST}",
        "app:",
        "app@",
        "app:1:2",
        "App",
        "UPPER/Case",
        "registry/App",
        "a//b",
        "/a",
        "a/",
        "-x",
        "x-",
        ".x",
        "a..b",
        "a___b",
        "a._b",
        "_a",
        "a/../b",
        "http://example.com/app",
        "https://app",
        "app latest",
        " app",
        "app ",
        "app\n",
        "app:1\n",
        "app:1\0",
        "app:-1",
        "app:.1",
        "app:tág",
        "аpp",  # a Cyrillic letter
        "app\ud800",
        "a" * 256,
        "app:" + "t" * 129,
        "app@sha256:short",
        "app@sha256:" + "0" * 63,
        "app@sha256:" + "0" * 65,
        "app@sha256:" + "G" * 64,
        "app@sha256:" + "A" * 64,
        "app@md5:" + "0" * 32,
        f"app@{DIGEST}@{DIGEST}",
        f"app@{DIGEST}\n",
        "0123456789abcdef" * 4,
        "sha256:" + "0" * 64,
        "sha256:0123",
        "-host/app",
        "host:port/app",
        "[::1/app",
        "--privileged",
        "$(id)",
    ],
)
def test_everything_else_is_refused_with_a_sentence(text):
    wrong = check_image(text)
    assert wrong is not None
    assert wrong.isprintable()
    assert len(wrong) < 200


@pytest.mark.parametrize("text", ["a-" * 500_000, "a" * 1_000_000, "a." * 120 + "!", "a/" * 500_000, "a:" * 500_000])
def test_long_references_are_judged_at_once(text):
    begin = time.process_time()
    check_image(text)
    assert time.process_time() - begin < 0.5


@given(st.text(alphabet="aA0.-_/:@[]é \n", max_size=60))
def test_any_text_is_judged_and_can_be_put_together_again(text):
    check_image(text)
    name, tag, digest = split_image(text)
    assert name + ("" if tag is None else f":{tag}") + ("" if digest is None else f"@{digest}") == text


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("team/app", "docker.io/team/app:latest"),
        ("registry.example/team/app:2", "registry.example/team/app:2"),
        ("localhost/app", "localhost/app:latest"),
        ("10.0.0.1:5000/app", "10.0.0.1:5000/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/library/alpine:3", "docker.io/library/alpine:3"),
        ("Docker.io/team/app:2", "docker.io/team/app:2"),
        ("TEAM/app", "TEAM/app:latest"),
        ("Registry.Example:5000/app:T", "registry.example:5000/app:T"),
        ("[2001:DB8::1]:5000/app", "[2001:db8::1]:5000/app:latest"),
        ("app@sha256:" + "0" * 64, "docker.io/library/app@sha256:" + "0" * 64),
    ],
)
def test_images_are_judged_by_their_whole_name(image, whole):
    assert whole_name(image) == whole == whole_name(whole)
