"""A recorded environment as a lock file that others read, and what a pod tells of itself. 6 s."""

import functools
import hashlib
import http.server
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_environment import EXAMPLE
from whence import environments, pods, pylock
from whence.environment import Distribution

SHA = "0" * 64
LOCK = b"""
version = 1
[[package]]
name = "Six"
version = "1.17.0"
source = { registry = "https://me:hunter2@example.org/simple" }
sdist = { url = "https://me:hunter2@example.org/six-1.17.0.tar.gz?sig=hunter2", hash = "sha256:1111", size = 3 }
wheels = [
    { url = "https://me:hunter2@example.org/six-1.17.0-py2.py3-none-any.whl", hash = "sha256:2222", size = 4 },
    { url = "../six-1.17.0-py3-none-any.whl", hash = "sha256:3333" },
]
[[package]]
name = "six"
version = "1.16.0"
wheels = [{ url = "https://example.org/six-1.16.0-py3-none-any.whl", hash = "sha256:4444" }]
"""
EVERY = (
    Distribution("archive", "1", url=f"https://example.org/a-1.tar.gz#sha256={SHA}&subdirectory=s"),
    Distribution("bare", "1", url="https://example.org/b-1.tar.gz"),
    Distribution("editable", "1", editable=True, source="git+https://example.org/e.git@c0ffee0 (changed)"),
    Distribution("here", "1", editable=True, source="git+https://example.org/h.git@c0ffee0"),
    Distribution("local", "1", files_digest=f"sha256:{SHA}"),
    Distribution("nowhere", "1"),
    Distribution("six", "1.17.0"),
    Distribution("vcs", "1", url="git+ssh://git@example.org/v.git@5c0ffee#subdirectory=sub"),
)


def test_each_kind_of_distribution_stands_in_the_lock_or_is_told() -> None:
    found = pylock.write(
        replace(EXAMPLE, distributions=EVERY), pylock.files_of({"uv.lock": LOCK, "x": b"\xff"})
    )
    said = tomllib.loads(found.text)
    assert {name: said[name] for name in ("lock-version", "requires-python", "created-by")} == {
        "lock-version": "1.0",
        "requires-python": "==3.11.*",
        "created-by": "whence",
    }
    assert said["packages"] == [
        {
            "name": "archive",
            "archive": {
                "url": "https://example.org/a-1.tar.gz",
                "hashes": {"sha256": SHA},
                "subdirectory": "s",
            },
        },
        {
            "name": "here",
            "vcs": {"type": "git", "url": "https://example.org/h.git", "commit-id": "c0ffee0"},
        },
        {
            "name": "six",
            "version": "1.17.0",
            "sdist": {
                "name": "six-1.17.0.tar.gz",
                "url": "https://example.org/six-1.17.0.tar.gz",
                "size": 3,
                "hashes": {"sha256": "1111"},
            },
            "wheels": [
                {
                    "name": "six-1.17.0-py2.py3-none-any.whl",
                    "url": "https://example.org/six-1.17.0-py2.py3-none-any.whl",
                    "size": 4,
                    "hashes": {"sha256": "2222"},
                }
            ],
        },
        {
            "name": "vcs",
            "vcs": {
                "type": "git",
                "url": "ssh://git@example.org/v.git",
                "commit-id": "5c0ffee",
                "subdirectory": "sub",
            },
        },
    ]
    assert found.left_out.keys() == {"bare", "editable", "local", "nowhere"}
    assert "hunter2" not in found.text


def test_a_lock_of_its_own_names_the_same_files_again() -> None:
    recorded = replace(EXAMPLE, distributions=(Distribution("six", "1.17.0"),))
    first = pylock.write(recorded, pylock.files_of({"sub/uv.lock": LOCK}))
    assert pylock.write(recorded, pylock.files_of({"pylock.toml": first.text.encode()})) == first


def test_a_lock_that_names_nothing_says_so() -> None:
    found = pylock.write(replace(EXAMPLE, distributions=(Distribution("six", "1.17.0"),)), {})
    assert tomllib.loads(found.text)["packages"] == []
    assert found.left_out == {"six": "no lock of the project names files and hashes of it"}


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)


@given(words, words)
def test_whatever_stands_in_an_environment_the_lock_is_one_that_reads_back(version: str, name: str) -> None:
    recorded = replace(EXAMPLE, distributions=(Distribution("six", version),))
    files = {("six", version): [pylock.File(name + ".whl", "https://example.org/x", {"sha256": name})]}
    (package,) = tomllib.loads(pylock.write(recorded, files).text)["packages"]
    assert (package["version"], package["wheels"][0]["name"]) == (version, name + ".whl")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address and the hash of a wheel of one module, which a server here hands out."""
    folder = tmp_path / "served"
    folder.mkdir()
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    about = "tiny-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "ONE = 1\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        yield f"http://127.0.0.1:{server.server_address[1]}/{wheel.name}", digest
        server.shutdown()


def installed(folder: Path, lock: str) -> subprocess.CompletedProcess[str]:
    (folder / "pylock.toml").write_text(lock)
    command = [environments._uv_binary(), "pip", "install", "--no-cache", "--target", str(folder / "target")]
    return subprocess.run(
        [*command, "--python", sys.executable, "--preview-features", "pylock", "-r", "pylock.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_uv_installs_what_the_lock_names_and_nothing_that_is_another(
    tmp_path: Path, served: tuple[str, str]
) -> None:
    url, sha256 = served
    here = ".".join(map(str, sys.version_info[:3]))
    recorded = replace(EXAMPLE, python=here, distributions=(Distribution("tiny", "1.0"),))

    def lock(hashed: str) -> str:
        return pylock.write(
            recorded, {("tiny", "1.0"): [pylock.File("tiny-1.0-py3-none-any.whl", url, {"sha256": hashed})]}
        ).text

    refused = installed(tmp_path, lock(SHA))
    assert refused.returncode != 0
    assert "hash" in refused.stderr.lower(), refused.stderr
    done = installed(tmp_path, lock(sha256))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "tiny.py").read_text() == "ONE = 1\n"


def test_a_pod_tells_its_names_and_limits_and_nothing_else(tmp_path: Path) -> None:
    for path, text in {
        "etc/podinfo/labels": 'token="hunter2"',
        "etc/podinfo/node": "node-7",
        "var/run/secrets/kubernetes.io/serviceaccount/namespace": "ml\n",
        "var/run/secrets/kubernetes.io/serviceaccount/token": "hunter2",
        "proc/self/cgroup": "0::/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice/x.scope\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/memory.max": "1073741824\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = pods.found(tmp_path, (("HOSTNAME", "train-0"),))
    assert found == {
        "name": "train-0",
        "namespace": "ml",
        "uid": "01234567-89ab-cdef-0123-456789abcdef",
        "node": "node-7",
        "cpu": "1.5",
        "memory": "1073741824",
    }
    assert pods.found(tmp_path, (("HOSTNAME", "a"), ("POD_NAME", "b"), ("NODE_NAME", "c")))["name"] == "b"
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert "memory" not in pods.found(tmp_path, ())


def test_outside_of_kubernetes_there_is_no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("POD_NAME", "x")
    assert pods.facts() == {}
