"""What counts in the key of a command beside its words: what no Bundle takes, and what lies elsewhere. 4 s."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from whence import command_source, counted, programs, selection
from whence.counted import Counted

LARGE = "#" * (selection.LARGEST_FILE_BYTES + 1)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHENCE_CODE_CACHE", str(tmp_path / "shelf"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def found(root: Path, *words: str, program: str = "sh", without: tuple[Path, ...] = ()) -> Counted:
    source = command_source.collect(root, [], without)
    place = counted.Place(root, root)
    return counted.of(place, [(word, word) for word in words], source, without, programs.find(program, root))


def moves(root: Path, path: str, text: str = "another one\n") -> bool:
    """Whether what counts beside the source is another one when this file is."""
    before = found(root)
    write(root, {path: text})
    after = found(root)
    assert not after.obstacles
    return before != after


def test_of_a_work_tree_all_counts_that_is_the_projects_and_data_does_not(root: Path) -> None:
    git(root, "init")
    write(
        root,
        {".gitignore": "gen/\n.env\n/tool\n/data/\ndist/\n", "config.yaml": "url: postgres://u:pw@h/db\n"},
    )
    write(root, {"secrets/id_rsa": "1", "table.csv": LARGE, "linked.txt": "1", "run.sh": "1"})
    write(root.parent, {"outside/lib.txt": "1", "outside/shared/a.py": "1", "inner/lib.py": "1"})
    git(root.parent / "inner", "init")
    git(root.parent / "inner", "add", ".")
    git(root.parent / "inner", "commit", "-m", "first")
    (root / "away.sh").symlink_to(root.parent / "outside/lib.txt")
    (root / "shared").symlink_to(root.parent / "outside/shared")
    git(root, "submodule", "add", str(root.parent / "inner"), "inner")
    git(root, "add", "--force", ".")
    git(root, "commit", "-m", "first")
    write(
        root,
        {
            "gen/x.sh": "1",
            "gen/deep/y.py": "1",
            ".env": "A=1",
            "tool": "1",
            "new.bin": "1",
            "data/a.csv": "1",
        },
    )
    write(root, {"nested/z.py": "1", "dist/made.js": "1", "gen/node_modules/a.js": "1", ".cache/a.py": "1"})
    git(root / "nested", "init")
    (root / "tool").chmod(0o755)
    another = {path: moves(root, path) for path in (
        "config.yaml", "secrets/id_rsa", "table.csv", "inner/lib.py", "gen/x.sh", "gen/deep/y.py", ".env", "tool",
        "nested/z.py", "../outside/lib.txt",
    )}  # fmt: skip
    assert another == dict.fromkeys(another, True)
    # What a Bundle takes is in the key by that, and data has to be an input.
    same = {path: moves(root, path) for path in (
        "run.sh", "new.bin", "data/a.csv", "dist/made.js", "gen/node_modules/a.js", ".cache/a.py",
    )}  # fmt: skip
    assert same == dict.fromkeys(same, False)
    notes = command_source.collect(root, [], []).bundle.notes
    assert any(note.startswith("dist, gen/node_modules left out: tools made") for note in notes), notes


def test_without_git_links_that_lead_out_are_not_kept_and_count(root: Path) -> None:
    write(root.parent, {"outside/lib.py": "1", "outside/deep/lib.py": "1"})
    write(root, {"run.sh": "1", ".env": "A=1", "secrets.yaml": "a: 1", "url.toml": "a = 'ftp://a:hunter2@b'"})
    (root / "lib.py").symlink_to(root.parent / "outside/lib.py")
    (root / "deep").symlink_to(root.parent / "outside/deep")
    assert set(command_source.collect(root, [], []).bundle.files) == {"run.sh"}
    assert (
        "lib.py left out: they are links that lead out of the project"
        in command_source.collect(root, [], []).bundle.notes
    )
    another = {
        path: moves(root, path)
        for path in ("../outside/lib.py", "../outside/deep/lib.py", ".env", "secrets.yaml")
    }
    assert another == dict.fromkeys(another, True)
    assert moves(root, "url.toml", "a = 'ftp://a:hunter3@b'")


def test_what_a_command_takes_and_makes_does_not_count_beside(root: Path) -> None:
    git(root, "init")
    write(root, {".gitignore": "out/\n", "run.sh": "1", "out/made.sh": "1"})
    assert found(root).hidden
    assert not found(root, without=(root / "out/made.sh",)).hidden


def test_a_file_that_is_named_and_looks_secret_counts_under_a_secret(root: Path) -> None:
    write(root, {"build/.env": "A=1", "build/a.data": "1", "build/b.data": "ftp://a:hunter2@b"})
    seen = found(root, "build/.env", "--x=build/a.data", "build/b.data", "a\0b", "#" * 5000)
    assert list(seen.seen) == [counted.FILES]
    assert list(seen.seen[counted.FILES]) == ["build/a.data"]
    assert list(seen.hidden) == ["hidden words"]


def test_folders_of_pythonpath_count_by_what_they_hold(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root.parent, {"mylib/mylib.py": "1", "mylib/.env": "A=1"})
    write(root, {"src/a.py": "1"})
    seen = [found(root)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root.parent / "mylib"), "src"]))
    for path, text in (("mylib.py", "1"), ("mylib.py", "2"), (".env", "A=2")):
        write(root.parent, {f"mylib/{path}": text})
        seen.append(found(root))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["src", str(root.parent / "mylib")]))
    seen.append(found(root))
    for place, each in enumerate(seen):
        assert each not in seen[:place], place
    assert seen[-1].seen[counted.PATH]["0"] == "src"
    assert any("mylib counts, and is not kept: PYTHONPATH" in note for note in seen[1].notes)


def test_a_folder_of_pythonpath_that_is_passed_over_counts_and_so_does_an_archive(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(root, "init")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".deps", "lib.zip"]))
    write(root, {".gitignore": ".deps/\n*.zip\n", "run.sh": "1", ".deps/lib/a.py": "1", "lib.zip": "1"})
    assert moves(root, ".deps/lib/a.py")
    assert moves(root, "lib.zip")


@pytest.mark.skipif(sys.platform != "linux", reason="it needs a file that the superuser cannot read either")
def test_a_file_that_is_named_and_cannot_be_read_leaves_no_key(root: Path) -> None:
    (why,) = found(root, "/proc/self/mem").obstacles
    assert why.startswith("/proc/self/mem is named and cannot be read")


def test_an_editable_install_counts_by_its_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lib, site = root.parent / "mylib", root.parent / "site-packages"
    info = f"{site.name}/mylib-1.0.dist-info"
    write(
        root.parent,
        {"mylib/mylib.py": "1", f"{info}/METADATA": "Metadata-Version: 2.1\nName: mylib\nVersion: 1.0\n"},
    )
    write(
        root.parent,
        {
            f"{info}/RECORD": "",
            f"{info}/direct_url.json": f'{{"url": "{lib.as_uri()}", "dir_info": {{"editable": true}}}}',
        },
    )
    monkeypatch.syspath_prepend(str(site))
    before = found(root, program=sys.executable)
    assert list(before.seen[counted.EDITABLE]) == ["mylib"]
    write(lib, {"mylib.py": "2"})
    assert found(root, program=sys.executable).seen != before.seen
    assert counted.EDITABLE not in found(root, program="sh").seen


def test_what_is_too_much_to_be_known_leaves_a_command_without_a_key(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root.parent, {"much/one.py": ""})
    for place in range(command_source.MOST_FILES):
        os.link(root.parent / "much/one.py", root.parent / f"much/{place}.py")
    monkeypatch.setenv("PYTHONPATH", str(root.parent / "much"))
    (why,) = found(root).obstacles
    assert why.startswith("PYTHONPATH: there are more than 10,000 files of code under")
