"""What a step says that its result depends on is in its key: each part shows, and none is left out in silence."""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import whence
from tests import servers
from tests.conftest import Project
from whence import connecting, described
from whence.client import Client
from whence_catalog import model
from whence_catalog.errors import InvalidInput
from whence_catalog.sql.catalog import SqlCatalog

PINNED = "registry/train:3@sha256:" + "a" * 64


class Counted:
    """A step that counts how often it was executed."""

    def __init__(self, **options: Any) -> None:
        self.executed = 0

        def count(n: int = 0, path: Path | None = None, n_jobs: int = 1) -> int:
            self.executed += 1
            return self.executed

        self.step: Callable[..., int] = whence.step(version="1", name="count", **options)(count)

    def runs(self, *arguments: Any, **named: Any) -> bool:
        """Whether a call is executed."""
        before = self.executed
        self.step(*arguments, **named)
        return self.executed > before


def newest(client: Client) -> model.Run:
    return client.catalog.runs(limit=1)[0]


def components(client: Client) -> dict[str, model.Component]:
    # A whole call, described as the catalog would be asked.
    call = described.call_of(Counted(ignore=["n_jobs"], seed=3).step, 1, n_jobs=4)
    return {part.name: part for part in described.describe(client, call).call.components}


def test_an_environment_variable_counts_by_its_value_which_is_nowhere_recorded(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hsifdrows"[::-1]  # the source of this test is kept with the Run
    counted = Counted(variables=["API_MODE"])
    executed = []
    for value in (None, "", f"{secret}-7", f"{secret}-8", f"{secret}-7", None):
        if value is None:
            monkeypatch.delenv("API_MODE", raising=False)
        else:
            monkeypatch.setenv("API_MODE", value)
        executed.append(counted.runs())
    assert executed == [True, True, True, True, False, False]
    verdict = next(
        v for v in client.catalog.explain(str(client.catalog.runs()[2].uid)).verdicts if "envvar" in v.name
    )
    assert re.fullmatch(r"set \(hmac [0-9a-f]{8}\)", str(verdict.after))
    client.close()
    for file in Path(client.url).rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


def test_an_argument_that_looks_secret_counts_and_is_nowhere_recorded(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hsifdrows"[::-1]
    monkeypatch.setenv("DB_PASSWORD", f"{secret}-9")
    asked = []

    @whence.step(version="1", name="asks", ignore=["token"])
    def asks(api_key: str, config: object, token: str = "") -> int:
        asked.append(int(api_key[-1]))
        return len(asked)

    for value, token in ((7, "a"), (8, "a"), (7, secret)):
        asks(f"{secret}-{value}", {"rate": 1, "db": [f"{secret}-9"]}, token)
    assert asked == [7, 8]
    run = client.catalog.runs()[1]
    assert run.params == {"api_key": "***", "config": {"rate": 1, "db": ["***"]}, "token": "***"}
    verdicts = {each.name: each for each in client.catalog.explain(str(run.uid)).verdicts}
    assert re.fullmatch(r"set \(hmac [0-9a-f]{8}\)", str(verdicts["params/api_key"].after))
    assert not run.capture.rerunnable
    with whence.run("block", params={"api_key": f"{secret}-7"}) as block:
        pass
    assert client.catalog.run(block.id).run.params == {"api_key": "***"}
    client.close()
    for file in Path(client.url).rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


def test_a_variable_has_one_digest_however_its_catalog_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_MODE", "fast")
    call = whence.Call(job="count", code="1", variables=["API_MODE"])
    keys = []
    (tmp_path / "catalog").mkdir()
    with (
        closing(SqlCatalog.open(tmp_path / "catalog" / "catalog.db")) as opened,
        servers.in_thread(opened) as url,
    ):
        for named in (str(tmp_path / "catalog"), url):
            client = connecting.open_client(named, blobs_url=(tmp_path / "blobs").as_uri())
            keys.append(described.describe(client, call).call.key)
            client.close()
        other = connecting.open_client(tmp_path / "other")
        keys.append(described.describe(other, call).call.key)
        other.close()
    assert keys[0] == keys[1]
    assert keys[2] != keys[0], "another catalog has another secret"


def test_without_the_secret_of_the_catalog_a_step_with_variables_has_no_key(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_MODE", "fast")
    client._key = b""  # as for whoever may read alone
    counted = Counted(variables=["API_MODE"])
    assert [counted.runs(), counted.runs()] == [True, True]
    assert newest(client).warnings == (
        "the variable API_MODE enters the key under the catalog's secret, which is kept from us",
    )


def test_a_declared_file_counts_by_its_bytes_and_one_that_is_absent_leaves_no_key(project: Project) -> None:
    project.write(
        """
        @whence.step(files=["conf/a.toml"], name="read")
        def read():
            mark("read")
            return Path("conf/a.toml").read_text() if Path("conf/a.toml").exists() else None

        if __name__ == "__main__":
            os.makedirs("elsewhere", exist_ok=True)
            show(read())
        """
    )
    assert [project.run(), project.run()] == [None, None]
    assert project.executed() == ["read", "read"], "what cannot be identified is not left out"
    (warning,) = newest(project.client).warnings
    assert warning.startswith("the file conf/a.toml cannot be identified: ")
    (project.folder / "conf").mkdir()
    (project.folder / "conf" / "a.toml").write_text("rate = 1")
    assert [project.run(), project.run(), project.executed()] == ["rate = 1", "rate = 1", ["read"]]
    (project.folder / "conf" / "a.toml").write_text("rate = 2")
    assert [project.run(), project.executed()] == ["rate = 2", ["read"]]


@pytest.mark.parametrize("part", ["seed", "extra", "environment"])
def test_every_part_that_is_said_tells_calls_apart(client: Client, part: str) -> None:
    values: list[Any] = {
        "seed": [1, 2, 1.0, {"numpy": 1}],
        "extra": [{"a": 1}, {"a": 2}, {"b": 1}, {}],
        "environment": [{"python": "3"}, {"python": "3", "image": PINNED}, "python", "packages"],
    }[part]
    for value in values:
        assert Counted(**{part: value}).runs(), value
        assert not Counted(**{part: value}).runs(), value


def test_what_is_ignored_shows_and_does_not_tell_calls_apart(client: Client, tmp_path: Path) -> None:
    counted = Counted(ignore=["n_jobs", "path"])
    (tmp_path / "a").write_bytes(b"1")
    assert counted.runs(1, n_jobs=1)
    assert not counted.runs(1, n_jobs=8)
    assert counted.runs(2)
    assert Counted().runs(1, n_jobs=1), "a step that ignores nothing has other keys"
    ignored = {name: part for name, part in components(client).items() if part.ignored}
    assert {name: (part.digest, part.preview) for name, part in ignored.items()} == {
        "params/n_jobs": (b"", "4")
    }
    with pytest.raises(
        InvalidInput, match=r"ignore names 'jobs', which is no input of count; there are n, path"
    ):
        Counted(ignore=["jobs"]).runs()


def test_an_image_counts_by_its_digest_and_a_bare_tag_is_taken_on_trust_alone(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHENCE_IMAGE", PINNED)
    assert [Counted().runs(), Counted().runs()] == [True, False]
    monkeypatch.setenv("WHENCE_IMAGE", PINNED.replace("train:3", "train:4"))
    assert not Counted().runs(), "the same image by another name"
    monkeypatch.setenv("WHENCE_IMAGE", PINNED.replace("a" * 64, "b" * 64))
    assert Counted().runs()
    monkeypatch.setenv("WHENCE_IMAGE", "registry/train:3")
    assert [Counted().runs(), Counted().runs()] == [True, True]
    assert (newest(client).reason, newest(client).key) == ("uncacheable", None)
    assert "the image registry/train:3 is no digest" in newest(client).warnings[0]
    assert [Counted(trust="we never move tags").runs() for _ in range(2)] == [True, False]
    reused, made = client.catalog.runs(limit=2)
    for run in (reused, made):
        assert run.warnings[0].endswith("; taken on trust")
        assert run.labels == {"trust": "we never move tags"}
    assert client.catalog.check().problems == ()


def test_a_value_without_identity_leaves_no_key_and_is_named_by_where_it_is(client: Client) -> None:
    assert [Counted(extra={"a": {"b": [object()]}}).runs() for _ in range(2)] == [True, True]
    assert newest(client).warnings[0].startswith("extra/a['b'][0] is a builtins.object")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"verify_rate": 2}, "verify_rate is 2"),
        ({"on_max_wait": "stop"}, "on_max_wait is 'stop'"),
        ({"files": ["/etc/passwd"]}, "files names '/etc/passwd'"),
        ({"files": ["../x"]}, "files names '../x'"),
        ({"code": whence.Image("x")}, "a version, or other code"),
    ],
)
def test_an_option_without_meaning_is_refused_where_the_step_is_written(
    options: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        Counted(**options)
