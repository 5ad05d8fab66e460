"""What a Run ran in, in bytes; and that none of it is a secret. 1.5 s."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.core.test_worktree import git
from whence import addresses, environment, worktree
from whence.environment import Cpu, Distribution, Environment, Platform
from whence_catalog import digest
from whence_catalog.errors import InvalidInput

EXAMPLE = Environment(
    python="3.11.7",
    implementation="CPython",
    distributions=(
        Distribution("mine", "0.1", editable=True),
        Distribution("six", "1.17.0"),
        Distribution(
            "tool", "2.0", url="git+https://example.org/tool.git@5c0ffee", files_digest="sha256:" + "0" * 64
        ),
    ),
    platform=Platform("Linux", "6.1.0", "x86_64", "glibc 2.36"),
    cpu=Cpu("Example 9000", 8),
    whence="0.1.0",
    variables={"PYTHONHASHSEED": "0"},
    paths=(".", "src"),
)


def test_the_recorded_form_is_fixed() -> None:
    data = environment.encode(EXAMPLE)
    assert data.startswith(digest.frame("whence.environment/1"))
    assert len(data) == 956
    assert (
        hashlib.sha256(data).hexdigest() == "c596d6bdb86a5064dde99bcc805d6abf899dc4eccd58f135f118d39ebb03fa1e"
    )


def test_what_is_encoded_is_decoded() -> None:
    here = environment.capture(Path.cwd())
    for each in (EXAMPLE, here, replace(here, image="sha256:" + "a" * 64, gpus=("A",))):
        assert environment.decode(environment.encode(each)) == each


def test_facts_that_are_absent_are_left_out_and_facts_of_a_later_version_are_passed_over() -> None:
    head = digest.frame("whence.environment/1")
    recorded = digest.unframe(environment.encode(EXAMPLE)[len(head) :])
    assert isinstance(recorded, dict)
    assert "image" not in recorded
    recorded["tpus"] = 4
    assert environment.decode(head + digest.frame(recorded)) == EXAMPLE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        digest.frame("whence.environment/2"),
        digest.frame("whence.environment/1") + digest.frame({"a": 1}),
    ],
)
def test_other_bytes_are_not_an_environment(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        environment.decode(data)


def test_it_names_this_python_its_packages_and_its_machine() -> None:
    here = environment.capture()
    names = [each.name for each in here.distributions]
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert {"six", "msgspec", "typing-extensions"} <= set(names)
    assert names == sorted(set(names))
    assert here.cpu.count >= 1
    assert here.platform.system
    assert next(each for each in here.distributions if each.name == "six") == Distribution("six", "1.17.0")


def test_each_graphics_processor_is_named_by_its_model(tmp_path: Path) -> None:
    for place, model in (("0000:b1:00.0", "NVIDIA L4"), ("0000:3b:00.0", "NVIDIA A100-SXM4-40GB")):
        (tmp_path / "nvidia/gpus" / place).mkdir(parents=True)
        text = f"Model: \t\t {model}\nIRQ:   \t\t 91\nGPU UUID: \t GPU-0123\n"
        (tmp_path / "nvidia/gpus" / place / "information").write_text(text)
    assert environment._gpus(tmp_path) == ("NVIDIA A100-SXM4-40GB", "NVIDIA L4")
    assert environment._gpus(tmp_path / "none") == ()


def test_the_image_is_that_which_the_deployment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.capture().image is None
    monkeypatch.setenv("WHENCE_IMAGE_DIGEST", image := "sha256:" + "a" * 64)
    assert environment.capture().image == image


def test_a_second_capture_is_answered_from_memory() -> None:
    assert environment.capture() is environment.capture()


def test_a_changed_variable_and_a_new_package_are_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environment.capture().variables["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "OMP_NUM_THREADS" not in environment.capture().variables
    assert "late" not in {each.name for each in environment.capture().distributions}
    install(site, "late", "1.0")
    assert Distribution("late", "1.0") in environment.capture().distributions


def test_variables_that_were_not_chosen_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    data = environment.encode(environment.capture())
    assert b"hunter2" not in data
    assert b"PYTHONHASHSEED" in data


def test_credentials_of_an_install_never_appear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vcs = {"vcs": "git", "commit_id": "c0ffee"}
    install(tmp_path, "by_vcs", "1", {"url": "https://me:hunter2@example.org/a.git", "vcs_info": vcs})
    install(
        tmp_path, "by_ssh", "1", {"url": "ssh://git@example.org/a.git", "vcs_info": vcs, "subdirectory": "s"}
    )
    archive = {
        "url": "https://hunter2@example.org/a.whl?sig=hunter2",
        "archive_info": {"hashes": {"sha256": "ab"}},
    }
    install(tmp_path, "by_archive", "1", archive)
    install(tmp_path, "by_path", "1", {"url": "file:///home/me/hunter2", "dir_info": {}})
    install(tmp_path, "by_link", "1", {"url": "file:///home/me/hunter2", "dir_info": {"editable": True}})
    monkeypatch.syspath_prepend(str(tmp_path))
    here = environment.capture()
    found = {each.name: each for each in here.distributions if each.name.startswith("by-")}
    assert {name: each.url for name, each in found.items()} == {
        "by-vcs": "git+https://example.org/a.git@c0ffee",
        "by-ssh": "git+ssh://git@example.org/a.git@c0ffee#subdirectory=s",
        "by-archive": "https://example.org/a.whl#sha256=ab",
        "by-path": None,
        "by-link": None,
    }
    assert {name for name, each in found.items() if each.is_local} == {"by-path", "by-link"}
    assert found["by-path"].files_digest is not None
    assert b"hunter2" not in environment.encode(here)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://me:pass@host:8443/a.git?token=x#y", "https://host:8443/a.git"),
        ("https://token@host/a.git", "https://host/a.git"),
        ("https://me:pa/ss@host/a.git", "https://host/a.git"),
        ("https://host/a@b.git", "https://host/a@b.git"),
        ("git@host:team/a.git", "git@host:team/a.git"),
        ("me@host:team/a.git", "host:team/a.git"),
        ("ssh://git:pass@host/a.git", "ssh://host/a.git"),
        ("/srv/a.git", "/srv/a.git"),
    ],
)
def test_a_url_loses_what_may_be_secret(url: str, clean: str) -> None:
    assert addresses.without_credentials(url) == clean


def test_the_key_has_the_minor_version_and_the_image_if_there_is_one() -> None:
    assert environment.key_environment(EXAMPLE) == {"python": "3.11"}
    image = "sha256:" + "a" * 64
    assert environment.key_environment(replace(EXAMPLE, image=image)) == {"python": "3.11", "image": image}


def test_search_paths_are_recorded_from_the_root_and_installed_ones_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("src", ".venv/lib/python3.11/site-packages", "scripts"):
        (tmp_path / name).mkdir(parents=True)
        monkeypatch.syspath_prepend(str(tmp_path / name))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert environment.capture(tmp_path).paths == (".", "scripts", "src")
    assert environment.capture().paths == ()


def install(site: Path, name: str, version: str, origin: dict[str, object] | None = None) -> None:
    """What an installer leaves behind for a package of one file."""
    about = site / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: no\n"
    )
    (about / "RECORD").write_text(
        f"{name}.py,sha256=x,1\n{about.name}/METADATA,sha256=y,1\n../bin/x,sha256=z,1\n"
    )
    if origin is not None:
        (about / "direct_url.json").write_text(json.dumps(origin))


def test_an_editable_install_is_told_by_the_commit_that_its_source_is_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "a source"
    source.mkdir()
    git(source, "init")
    (source / "a.py").write_text("")
    git(source, "add", "a.py")
    git(source, "commit", "--message", "a")
    git(source, "remote", "add", "origin", "https://me:hunter2@example.org/a.git")
    site = tmp_path / "site-packages"
    site.mkdir()
    install(site, "linked", "1", {"url": source.as_uri(), "dir_info": {"editable": True}})
    monkeypatch.syspath_prepend(str(site))
    commit = worktree.facts(source)["commit"]
    found = next(each for each in environment.capture().distributions if each.name == "linked")
    assert found.source == f"git+https://example.org/a.git@{commit}"
    assert found.is_local
    without = replace(EXAMPLE, distributions=(replace(found, source=None),))
    key = environment.key_environment(replace(EXAMPLE, distributions=(found,)), "packages")
    assert key == environment.key_environment(without, "packages"), "what it holds counts as code"
