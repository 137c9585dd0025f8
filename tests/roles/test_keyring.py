"""Logins for private registries."""

from __future__ import annotations

import base64
import json

import pytest

from dts.domain.errors import InvalidArgument
from dts.roles.executor.keyring import Keyring

ENCODED = base64.b64encode(b"anna:pass:word").decode()


def file(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_each_registry_has_its_login(tmp_path):
    keyring = Keyring(
        file(
            tmp_path,
            {
                "auths": {
                    "registry.example:5000": {"auth": ENCODED},
                    "https://index.docker.io/v1/": {"username": "me", "password": "hub"},
                    "https://token.example/v2/": {"identitytoken": "t"},
                },
                "credHelpers": {},
            },
        )
    )
    assert keyring.login("registry.example:5000/team/app:1") == {
        "username": "anna",
        "password": "pass:word",
        "serveraddress": "registry.example:5000",
    }
    assert keyring.login("alpine") == {
        "username": "me",
        "password": "hub",
        "serveraddress": "https://index.docker.io/v1/",
    }
    assert keyring.login("token.example/a")["identitytoken"] == "t"
    assert keyring.login("registry.example/team/app") is None


def test_without_a_file_nobody_knows_us():
    assert Keyring(None).login("alpine") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        {},
        {"auths": []},
        {"auths": {"r": "x"}},
        {"auths": {"r": {}}},
        {"auths": {"r": {"auth": "%geheim%"}}},
        {"auths": {"r": {"auth": base64.b64encode(b"geheim").decode()}}},
        {"auths": {"r": {"username": "geheim"}}},
    ],
)
def test_a_file_that_docker_login_did_not_write_is_refused_and_not_echoed(tmp_path, content):
    with pytest.raises(InvalidArgument, match="DTS_REGISTRY_AUTH_FILE: names a file that is not as") as refused:
        Keyring(file(tmp_path, content))
    assert "geheim" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"cannot be read, .*: No such file"):
        Keyring(tmp_path / "nowhere")


def test_a_changed_file_counts_and_a_broken_one_not(tmp_path, caplog):
    path = file(tmp_path, {"auths": {"r.example": {"auth": ENCODED}}})
    keyring = Keyring(path)
    path.write_text(json.dumps({"auths": {"other.example": {"auth": ENCODED}}}))
    assert keyring.login("r.example/a") is None
    assert keyring.login("other.example/a")["username"] == "anna"
    path.write_text("geheim")
    assert keyring.login("other.example/a")["username"] == "anna"
    assert "what was read before stays in use" in caplog.text
    assert "geheim" not in caplog.text
