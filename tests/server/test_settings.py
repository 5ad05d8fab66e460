"""What a server is told stands in one place, and what cannot be meant is refused with its name."""

import os
from pathlib import Path

import pytest

from tests import servers
from whence_api import settings
from whence_catalog.errors import ErrorKind, WhenceError


def refused(file: Path | None = None, **options: object) -> str:
    with pytest.raises(WhenceError) as caught:
        settings.load(file, **options)
    assert caught.value.kind is ErrorKind.BAD_SETTING
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "server.toml"


def test_without_any_word_it_serves_this_machine_an_embedded_catalog() -> None:
    found = settings.load()
    assert found.is_local
    assert found.authentication == "none"
    assert found.database == str(Path(".whence/catalog.db").absolute())


def test_an_option_goes_before_the_environment_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('port = 1\nthreads = 1\nhost = "localhost"\n')
    monkeypatch.setenv("WHENCE_PORT", "2")
    monkeypatch.setenv("WHENCE_THREADS", "2")
    found = settings.load(file, port=3)
    assert (found.port, found.threads, found.host) == (3, 2, "localhost")


def test_the_file_may_be_named_by_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("threads = 3")
    monkeypatch.setenv("WHENCE_CONFIG", str(file))
    assert settings.load().threads == 3


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHENCE_PORT", "")
    assert settings.load().port == settings.Settings.model_fields["port"].default


def test_lists_and_tables_have_a_form_in_the_environment_too(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('trusted_proxies = ["10.0.0.1", "10.0.0.2"]\n[oidc_grants]\nteam = ["record:vision"]\n')
    from_file = settings.load(file)
    monkeypatch.setenv("WHENCE_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2")
    monkeypatch.setenv("WHENCE_OIDC_GRANTS", '{"team": ["record:vision"]}')
    assert settings.load() == from_file
    assert from_file.oidc_grants == {"team": ("record:vision",)}


def test_an_unknown_key_is_refused_with_its_file_and_a_near_one(file: Path) -> None:
    file.write_text("max_body_byte = 5")
    told = refused(file)
    assert str(file) in told
    assert "max_body_byte;" in told
    assert "max_body_bytes is" in told


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("port = 70000", "port"),
        ('port = "many"', "port"),
        ("request_seconds = 0", "request_seconds"),
        ("request_seconds = nan", "request_seconds"),
        ("threads = 0", "threads"),
        ('authentication = "maybe"', "authentication"),
        ("trusted_proxies = 5", "trusted_proxies"),
        ('sync = "SOMETIMES"', "sync"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_file(file: Path, line: str, key: str) -> None:
    file.write_text(line)
    assert f"{file}: {key}" in refused(file)


def test_a_bad_value_of_the_environment_is_refused_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHENCE_THREADS", "many")
    assert "WHENCE_THREADS" in refused()
    monkeypatch.setenv("WHENCE_OIDC_GRANTS", "{")
    assert "WHENCE_OIDC_GRANTS" in refused()


def test_a_refusal_does_not_show_the_value_which_may_be_a_secret(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('url = ["postgresql://me:hunter2@db/whence"]')
    assert "hunter2" not in refused(file)


@pytest.mark.parametrize("text", ["port = ", "\x00", "port = 1\nport = 2"])
def test_a_file_that_is_not_toml_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert str(file) in refused(file)


def test_a_file_that_is_absent_or_not_text_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "absent.toml")
    assert str(tmp_path) in refused(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not TOML" in refused(tmp_path / "binary")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "catalog.example"])
def test_beyond_this_machine_it_refuses_to_serve_everybody(host: str) -> None:
    assert "allow_unauthenticated" in refused(host=host)
    assert settings.load(host=host, allow_unauthenticated=True).host == host
    assert settings.load(host=host, authentication="tokens").host == host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_is_served_as_it_is(host: str) -> None:
    assert settings.load(host=host).is_local


def test_a_database_elsewhere_is_taken_as_it_is() -> None:
    assert settings.load(url="postgresql://db/whence").database == "postgresql://db/whence"


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in settings.Settings.model_fields.items() if not field.description] == []


def test_a_server_that_cannot_begin_says_why_in_one_line_and_ends_with_1(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with 1: whence: WHENCE_THREADS: "):
        servers.Process(str(tmp_path / ".whence"), WHENCE_THREADS="none")
    assert os.listdir(tmp_path) == []
