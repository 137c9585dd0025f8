from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from dts.domain.errors import InvalidArgument
from dts.settings import Address, Settings, default_data_dir


def read(**environ: str) -> Settings:
    return Settings.from_env(environ)


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read()
    assert settings.dsn is settings.token is settings.executor.allow_process is settings.executor.docker_host is None
    assert settings.keep == timedelta(days=30)
    assert settings.executor.slots == max(8, int(4 * settings.executor.cpus))
    assert settings.executor.memory > 0
    assert settings.executor.node_name
    assert settings.warnings == settings.peers.database == ()
    assert (settings.log_format, settings.log_level) == (None, "INFO")


def test_everything_can_be_set(tmp_path: Path) -> None:
    settings = read(
        DTS_DATA=str(tmp_path),
        DTS_DSN="postgresql://u:p@db/dts",
        DTS_TOKEN="t" * 43,
        DTS_DATABASE_ADDR="db-1:7461, [::1]:7462",
        DTS_SCHEDULER_ADDR="scheduler:1",
        DTS_DEFINITION_ADDR="10.0.0.1:65535",
        DTS_NODE_NAME="node-1",
        DTS_SLOTS="3",
        DTS_CPUS="1.5",
        DTS_MEMORY="2GiB",
        DTS_NODE_LABELS="disk=ssd, zone=a/b,empty=",
        DTS_ALLOW_PROCESS="Yes",
        DTS_KEEP="1d12h",
        DTS_TRACES="otlp",
        DTS_LOG="json",
        DTS_LOG_LEVEL="debug",
        DOCKER_HOST="unix:///run/docker.sock",
    )
    assert settings.data_dir == tmp_path
    assert settings.peers.database == (Address("db-1", 7461), Address("::1", 7462))
    assert str(settings.peers.database[1]) == "[::1]:7462"
    assert settings.executor.slots == 3
    assert settings.executor.cpus == 1.5
    assert settings.executor.memory == 2 * 1024**3
    assert settings.executor.labels == {"disk": "ssd", "zone": "a/b", "empty": ""}
    assert settings.executor.allow_process is True
    assert settings.executor.docker_host == "unix:///run/docker.sock"
    assert settings.keep == timedelta(days=1, hours=12)
    assert settings.traces
    assert (settings.log_format, settings.log_level) == ("json", "DEBUG")
    assert settings.warnings == ()


def test_an_empty_variable_is_an_unset_one() -> None:
    assert read(DTS_SLOTS="", DTS_KEEP=" ").keep == timedelta(days=30)


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token-that-is-long-enough-x\n")
    settings = read(DTS_TOKEN_FILE=str(tmp_path / "token"), DTS_DSN="postgresql://u:secret-pass@db/dts")
    assert settings.token == "secret-token-that-is-long-enough-x"
    assert "secret" not in repr(settings)
    assert {"secret-token-that-is-long-enough-x", "secret-pass"} <= set(settings.secrets)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DTS_TRACES", "yes", "must be none or otlp; it is 'yes'"),
        ("DTS_SLOTS", "0", "whole number from 1 to 100000; it is '0'"),
        ("DTS_SLOTS", "١", "whole number"),
        ("DTS_SLOTS", "9" * 5000, "whole number from 1 to 100000; it is something else"),
        ("DTS_CPUS", "0", "above 0"),
        ("DTS_CPUS", "nan", "above 0"),
        ("DTS_MEMORY", "12 parsecs", "number of bytes"),
        ("DTS_MEMORY", "9999999999t", "number of bytes"),
        ("DTS_KEEP", "30", "from 1h to 3650d"),
        ("DTS_KEEP", "59m", "from 1h to 3650d"),
        ("DTS_KEEP", "99999999d", "from 1h to 3650d"),
        ("DTS_KEEP", "9" * 5000 + "d", "from 1h to 3650d"),
        ("DTS_ALLOW_PROCESS", "maybe", "true or false; it is 'maybe'"),
        ("DTS_NODE_NAME", "-a", "1 to 63 letters"),
        ("DTS_NODE_LABELS", "disk", "KEY=VALUE"),
        ("DTS_NODE_LABELS", "a=1,a=2", "each key once"),
        ("DTS_DATABASE_ADDR", "db", "HOST:PORT"),
        ("DTS_DATABASE_ADDR", "db:0", "HOST:PORT"),
        ("DTS_DATABASE_ADDR", "db:7461,", "HOST:PORT"),
        ("DTS_DATABASE_ADDR", "::1:7461", "HOST:PORT"),
        ("DTS_DATABASE_ADDR", "http://db:7461", "HOST:PORT"),
        ("DTS_DATABASE_ADDR", "db:" + "9" * 5000, "HOST:PORT"),
        ("DTS_DATABASE_ADDR", "dns::7461", "HOST:PORT"),
        ("DTS_DSN_POOLING", "session", "none or transaction"),
        ("DTS_LOG", "xml", "text or json"),
        ("DTS_LOG_LEVEL", "loud", "DEBUG, INFO, WARNING or ERROR"),
        ("DTS_TOKEN_FILE", "/nowhere/token", "cannot be read: No such file"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(name: str, value: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(**{name: value})
    (violation,) = caught.value.violations
    assert violation.field == name
    assert said in violation.message
    assert len(str(violation)) < 300


def test_every_mistake_is_named_not_only_the_first(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(InvalidArgument) as caught:
        read(DTS_SLOTS="x", DTS_CPUS="y", DTS_DSN="a", DTS_DSN_FILE="b", DTS_TOKEN_FILE=str(tmp_path / "empty"))
    assert {violation.field for violation in caught.value.violations} == {
        "DTS_SLOTS",
        "DTS_CPUS",
        "DTS_DSN",
        "DTS_TOKEN_FILE",
    }


def test_a_secret_is_not_echoed_when_its_file_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfehush")
    with pytest.raises(InvalidArgument, match="not UTF-8") as caught:
        read(DTS_TOKEN_FILE=str(tmp_path / "token"))
    assert "hush" not in str(caught.value)


def test_a_secret_given_where_a_file_is_asked_for_is_not_echoed() -> None:
    with pytest.raises(InvalidArgument, match="names a file that cannot be read") as caught:
        read(DTS_TOKEN_FILE="hush/hush")
    assert "hush" not in str(caught.value)


def test_the_password_of_the_database_may_be_a_secret_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("p@ss/w:rd\n")
    told = {"DTS_DSN": "postgresql://dts@db:5432/dts?sslmode=disable", "DTS_DSN_PASSWORD_FILE": str(secret)}
    settings = Settings.from_env(told)
    assert settings.dsn == "postgresql://dts:p%40ss%2Fw%3Ard@db:5432/dts?sslmode=disable"
    assert "p@ss/w:rd" in settings.secrets
    assert "p@ss" not in repr(settings)
    with pytest.raises(InvalidArgument, match="names a user and no password"):
        Settings.from_env({**told, "DTS_DSN": "postgresql://dts:x@db/dts"})
    secret.write_text("another\n")
    assert settings.dsn_password() == "another"


def test_a_pooler_is_named_by_what_it_lends_sessions_for() -> None:
    assert not read().dsn_lent
    assert not read(DTS_DSN_POOLING="none").dsn_lent
    assert read(DTS_DSN_POOLING="transaction").dsn_lent


def test_every_address_behind_a_name_can_be_meant() -> None:
    peers = Settings.from_env({"DTS_SCHEDULER_ADDR": "dns:tasks.scheduler:7461"}).peers.scheduler
    assert [str(address) for address in peers] == ["dns:tasks.scheduler:7461"]


def test_a_variable_that_is_no_setting_is_warned_about_with_the_nearest_name() -> None:
    assert read(DTS_SLOT="3", DTS_SERVER="a:1", PATH="x", DTS_QUITE_ELSE="1").warnings == (
        "DTS_QUITE_ELSE is not a setting of dts",
        "DTS_SLOT is not a setting of dts; did you mean DTS_SLOTS?",
    )


def test_data_lies_where_the_system_expects_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir({}) == Path("/var/lib/dts")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir({}) == tmp_path / ".local/share/dts"
    assert default_data_dir({"XDG_DATA_HOME": "/data"}) == Path("/data/dts")
    assert default_data_dir({"XDG_DATA_HOME": "relative"}) == tmp_path / ".local/share/dts"


ADMIN = "dts_" + "a-Z_0" * 8 + "xyz"


def test_the_first_admin_token_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "admin"
    file.write_text(ADMIN + "\n")
    settings = read(DTS_ADMIN_TOKEN_FILE=str(file))
    assert settings.admin_token == ADMIN
    assert ADMIN in settings.secrets
    assert ADMIN not in repr(settings)
    assert read().admin_token is None


def test_keys_that_seal_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "seal-key"
    file.write_text("a2V5" + "a" * 38 + "A=\n")
    settings = read(DTS_SEAL_KEY_FILE=str(file))
    assert [len(key) for key in settings.seal_keys] == [32]
    assert repr(settings.seal_keys[0]) not in repr(settings)
    assert read().seal_keys == ()
    file.write_text("s3cret")
    with pytest.raises(InvalidArgument, match="openssl rand") as refused:
        read(DTS_SEAL_KEY_FILE=str(file))
    assert "s3cret" not in refused.value.violations[0].message


@pytest.mark.parametrize("content", ["secret", "dts_", ADMIN + "x", ADMIN + "\n" + ADMIN, ADMIN[4:], "a b"])
def test_a_first_admin_token_that_may_be_guessed_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "admin"
    file.write_text(content)
    with pytest.raises(InvalidArgument, match="dts token generate") as refused:
        read(DTS_ADMIN_TOKEN_FILE=str(file))
    [violation] = refused.value.violations
    assert violation.field == "DTS_ADMIN_TOKEN_FILE"
    assert ADMIN[4:] not in violation.message


def test_a_first_admin_token_does_not_stand_in_the_environment() -> None:
    assert read(DTS_ADMIN_TOKEN=ADMIN).warnings


def test_a_token_that_somebody_could_guess_is_refused_and_not_shown():
    with pytest.raises(InvalidArgument, match="fewer than 32 characters") as refused:
        read(DTS_TOKEN="guess-me")
    assert "guess-me" not in str(refused.value)
