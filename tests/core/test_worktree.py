"""What of a git work tree a Bundle takes, and that a look at it is enough. 4 s."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from whence import bundle, patches, selection, worktree
from whence_catalog import digest
from whence_catalog.blobs import BlobStore


@pytest.fixture(autouse=True)
def _own_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHENCE_CODE_CACHE", str(tmp_path / "shelf"))


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_git_tells_remote_commit_branch_and_whether_all_is_committed(tmp_path: Path) -> None:
    assert worktree.facts(tmp_path) == {}
    git(tmp_path, "init", "--initial-branch", "main")
    (tmp_path / "a.py").write_text("a = 1\n")
    assert worktree.facts(tmp_path) == {"branch": "main", "dirty": "yes"}
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "--message", "a")
    git(tmp_path, "remote", "add", "aside", "https://example.org/other.git")
    git(tmp_path, "remote", "add", "origin", "https://me:hunter2@example.org/a.git")
    facts = worktree.facts(tmp_path)
    commit = facts["commit"]
    expected = {"remote": "https://example.org/a.git", "commit": commit, "branch": "main", "dirty": "no"}
    assert facts == expected
    (tmp_path / "sub").mkdir()
    assert worktree.facts(tmp_path / "sub") == expected
    git(tmp_path, "checkout", "--detach")
    (tmp_path / "a.py").write_text("a = 1000\n")
    assert worktree.facts(tmp_path) == {
        "remote": "https://example.org/a.git",
        "commit": commit,
        "dirty": "yes",
    }


def test_without_git_there_are_no_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    git(tmp_path, "init")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert worktree.facts(tmp_path) == {}


def settle() -> None:
    """Until the file system's clock has moved on, a file may change and look the same."""
    until = time.time_ns() + 150_000_000
    while time.time_ns() < until:
        time.sleep(0.01)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "wpkg").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "w"\nversion = "1"\n')
    (root / "wpkg" / "one.py").write_text("x = 1\n")
    (root / "small.csv").write_text("a,b\n")
    (root / ".gitignore").write_text("*.log\n/ignored/\n")
    git(root, "init", "--initial-branch", "main")
    git(root, "add", ".")
    git(root, "commit", "--message", "first")
    return root


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def taken(root: Path) -> set[str]:
    tree = worktree.of(root)
    assert tree is not None
    return set(tree.contents)


TRACKED = {"pyproject.toml", "wpkg/one.py", "small.csv", ".gitignore"}


def test_tracked_files_and_new_code_are_taken_and_neither_data_nor_secrets_are(repository: Path) -> None:
    write(
        repository,
        {
            "wpkg/two.py": "y = 2\n",
            "conf/train.yaml": "rate: 1\n",
            "run.sh": "true\n",
            "outputs/model.bin": "m",
            "data/0.png": "p",
            "seen.log": "l",
            "ignored/three.py": "z = 3\n",
            ".env": "TOKEN=hunter2\n",
            "api_keys.yaml": "hunter2\n",
            "deploy/id_rsa": "hunter2\n",
            "site.toml": 'url = "https://me:hunter2@example.org"\n',
            "keyboard.yaml": "layout: de\n",
        },
    )
    tree = worktree.of(repository)
    assert tree is not None
    new = {"wpkg/two.py", "conf/train.yaml", "run.sh", "keyboard.yaml"}
    assert set(tree.contents) == TRACKED | new
    told = "\n".join(tree.left_out)
    assert "data/0.png, outputs/model.bin left out: they are neither code nor in git" in told
    assert f".env, api_keys.yaml, deploy/id_rsa left out: {selection.SECRET}" in told
    assert "site.toml left out: an address in it holds a password" in told


def test_a_large_file_is_left_out_unless_it_is_code_and_committed(repository: Path) -> None:
    large = "#" * (selection.LARGEST_FILE_BYTES + 1)
    write(repository, {"wpkg/large.py": large, "table.csv": large})
    git(repository, "add", ".")
    write(repository, {"wpkg/new.py": large})
    assert taken(repository) == TRACKED | {"wpkg/large.py"}


def test_the_project_declares_what_else_is_taken_and_what_is_not(repository: Path) -> None:
    write(
        repository,
        {
            "pyproject.toml": "[tool.whence.bundle]\ninclude = ['data/*.csv', 'public_key.pem', 'ignored/*']\n"
            "exclude = ['small.csv']\nlargest_file_bytes = 'much'\nincludes = []\n",
            "data/labels.csv": "a\n",
            "public_key.pem": "p\n",
            "private_key.pem": "p\n",
            "ignored/three.py": "z = 3\n",
        },
    )
    tree = worktree.of(repository)
    assert tree is not None
    declared = {"data/labels.csv", "public_key.pem", "ignored/three.py"}
    assert set(tree.contents) == (TRACKED | declared) - {"small.csv"}
    fault = (
        "tool.whence.bundle in pyproject.toml: includes is none of its settings; largest_file_bytes is 'much'"
    )
    assert fault in tree.left_out


def test_names_that_no_tree_can_have_links_outwards_and_repositories_inside_are_told(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.py").write_text("secret = 1\n")
    (repository / "link.py").symlink_to(tmp_path / "outside.py")
    (repository / "inside.py").symlink_to(repository / "wpkg" / "one.py")
    (repository / "gone.py").symlink_to(repository / "nowhere.py")
    (repository / os.fsdecode(b"caf\xe9.py")).write_text("")
    (repository / "nested").mkdir()
    git(repository / "nested", "init")
    write(repository, {"nested/four.py": ""})
    git(repository, "add", "link.py", "inside.py", "gone.py")
    tree = worktree.of(repository)
    assert tree is not None
    assert set(tree.contents) == TRACKED | {"inside.py"}
    assert {told.rpartition("left out: ")[2] for told in tree.left_out} == {
        "they are links that lead out of the project",
        "their names are not UTF-8",
        "each is a repository of its own, which nothing names",
    }


def test_the_same_tree_answers_until_something_is_another_one(repository: Path) -> None:
    settle()
    first = worktree.of(repository)
    assert first is not None
    assert worktree.of(repository) is first
    changes = [
        lambda: (repository / "wpkg/one.py").write_text("x = 2\n"),
        lambda: (repository / "wpkg/new.py").write_text(""),
        lambda: (repository / "wpkg/new.py").unlink(),
        lambda: (repository / "small.csv").unlink(),
        lambda: git(repository, "commit", "--all", "--message", "second"),
    ]
    for change in changes:
        before = worktree.of(repository)
        change()
        after = worktree.of(repository)
        assert after is not None
        assert after is not before
    assert after.facts["commit"] != first.facts["commit"]
    assert after.contents["wpkg/one.py"].raw == digest.digest_of_bytes(b"x = 2\n").raw


ASK = """
import sys
from pathlib import Path
from whence import contents, worktree
tree = worktree.of(Path(sys.argv[1]))
read = []
whole = contents.read
contents.read = lambda file: (read.append(file), whole(file))[1]
worktree.of(Path(sys.argv[2]))
print(len(read))
"""


def test_a_new_process_reads_nothing_that_another_has_read(repository: Path, tmp_path: Path) -> None:
    settle()
    found = bundle.collect(repository, {}, None)
    beside = tmp_path / "beside"
    beside.mkdir()
    git(beside, "init")

    def read() -> int:
        command = [sys.executable, "-c", ASK, str(beside), str(repository)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert found.root_digest is not None
    assert read() == 0
    (repository / "wpkg/one.py").write_text("x = 3\n")
    assert read() == 1


def test_too_large_a_tree_is_what_the_code_imports_with_commit_and_diff_beside_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, {"wentry.py": "import wpkg.one\n", "wpkg/one.py": "x = 5\n", "wnew.py": "#" * 3000})
    write(repository, {".env": "hunter2", "wpkg/big.py": "#" * 3000})
    git(repository, "add", "wpkg/big.py")
    write(repository, {"wpkg/big.py": "#" * 3001})
    monkeypatch.syspath_prepend(str(repository))
    found = bundle.collect(repository, {}, str(repository / "wentry.py"), limit_bytes=4000)
    assert found.stands_in
    assert set(found.files) == {"wentry.py", "wpkg/one.py", "pyproject.toml"}
    facts = worktree.facts(repository)
    (note,) = [note for note in found.notes if "stand" in note]
    assert note.endswith(
        f"more than the limit of 4,000: what the code imports was taken, and commit {facts['commit']} and a diff"
        " stand in for the rest"
    )
    before = sorted((repository / ".git").rglob("*"))
    patch = patches.make(repository, 100_000)
    assert patch is not None
    assert b"hunter2" not in patch
    assert sorted((repository / ".git").rglob("*")) == before
    git(tmp_path, "clone", str(repository), "again")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path / "again", input=patch, check=True)
    for path in ("wentry.py", "wpkg/one.py", "wnew.py", "wpkg/big.py"):
        assert (tmp_path / "again" / path).read_text() == (repository / path).read_text()
    assert patches.make(repository, 100) is None


def test_a_diff_is_made_once_until_the_tree_or_the_commit_is_another_one(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = BlobStore.open(str(tmp_path / "blobs"))
    large = "#" * (selection.LARGEST_FILE_BYTES + 1)
    write(repository, {"table.csv": large})
    git(repository, "add", ".")
    git(repository, "commit", "--message", "second")

    def stored() -> bytes:
        settle()
        made = patches.store(repository, 10 << 20, blobs)
        assert made is not None
        with monkeypatch.context() as without_git:
            assert worktree.of(repository) is not None
            without_git.setenv("PATH", str(tmp_path))
            patches._made.clear()  # as in another process
            assert patches.store(repository, 10 << 20, blobs) == made
        return blobs.read_bytes(made)

    assert stored() == b""
    write(repository, {"wpkg/one.py": "x = 5\n"})
    assert b"+x = 5" in stored()
    write(repository, {"table.csv": large + "more"})
    assert b"table.csv" in stored(), "which no Bundle takes"
    git(repository, "commit", "--all", "--message", "third")
    assert stored() == b"", "what was changed is committed"


def test_a_tree_is_stored_whole_and_comes_back(repository: Path, tmp_path: Path) -> None:
    (repository / "run.sh").write_text("true\n")
    (repository / "run.sh").chmod(0o755)
    blobs = BlobStore.open(str(tmp_path / "blobs"))
    found = bundle.collect(repository, {}, None)
    assert bundle.store(found, blobs) == found.root_digest
    blobs.copy_tree(bundle.store(found, blobs), tmp_path / "back")
    for path, file in found.files.items():
        assert (tmp_path / "back" / path).read_bytes() == Path(file).read_bytes()
    assert os.access(tmp_path / "back" / "run.sh", os.X_OK)


def test_a_work_tree_beside_the_first_one_is_one_of_its_own(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", str(tmp_path / "beside"))
    write(tmp_path / "beside", {"wpkg/one.py": "x = 9\n"})
    assert worktree.facts(tmp_path / "beside")["branch"] == "beside"
    assert worktree.facts(tmp_path / "beside")["dirty"] == "yes"
    assert worktree.facts(repository)["dirty"] == "no"


def test_without_an_answer_of_git_what_the_code_imports_is_taken(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = bundle.collect(repository, {}, str(repository / "wpkg" / "one.py"))
    assert set(found.files) == {"wpkg/one.py", "pyproject.toml"}
    assert "git did not say what is in the work tree: only what the code imports was taken" in found.notes


def test_more_files_than_can_be_looked_at_are_told_and_only_what_is_imported_is_taken(
    repository: Path, tmp_path: Path
) -> None:
    blob = subprocess.run(
        ["git", "hash-object", "pyproject.toml"], cwd=repository, capture_output=True, text=True
    )
    rows = "".join(
        f"100644 {blob.stdout.strip()}\tmany/{place}.csv\n" for place in range(selection.LIMIT_FILES)
    )
    subprocess.run(["git", "update-index", "--index-info"], cwd=repository, input=rows, text=True, check=True)
    entry = str(repository / "wpkg" / "one.py")
    found = bundle.collect(repository, {}, entry)
    assert found.stands_in
    assert set(found.files) == {"wpkg/one.py", "pyproject.toml"}
    assert any(
        f"has {selection.LIMIT_FILES + 4:,} files, more than the limit of 20,000" in n for n in found.notes
    )
    assert bundle.collect(repository, {}, entry) is found
    (repository / "wpkg/one.py").write_text("x = 7\n")
    write(
        repository, {"wpkg/new.py": "z = 1\n", "key.pem": "hunter2", "url.toml": "a = 'ftp://a:hunter2@b'\n"}
    )
    git(repository, "add", "wpkg/one.py")
    assert bundle.collect(repository, {}, entry).root_digest != found.root_digest
    patch = patches.make(repository, 1 << 30)
    assert patch is not None
    assert b"+x = 7" in patch
    assert b"+z = 1" in patch
    assert b"hunter2" not in patch


def test_a_diff_holds_no_secret_that_was_taken_out_or_stands_in_a_tracked_file(repository: Path) -> None:
    address = "url: https://me:hunter2@example.org/x\n"
    write(
        repository,
        {".env": "TOKEN=hunter1", "config.yaml": address, "old.yaml": "a: 1\n", "plain.yaml": "a: 1\n"},
    )
    git(repository, "add", "--force", ".")
    git(repository, "commit", "--message", "second")
    git(repository, "rm", ".env")
    write(repository, {"config.yaml": "url: none\n", "old.yaml": address, "plain.yaml": "a: 2\n"})
    patch = patches.make(repository, 100_000)
    assert patch is not None
    assert b"hunter" not in patch
    assert b"+a: 2" in patch, "what holds none is there"


@pytest.mark.parametrize(
    "name", ["aws_credentials.ini", "my-credentials.yaml", ".pgpass", "application_default_credentials.json"]
)
def test_what_holds_credentials_by_its_name_is_never_taken(repository: Path, name: str) -> None:
    write(repository, {name: "hunter2"})
    git(repository, "add", "--force", ".")
    assert name not in bundle.collect(repository, {}, None).files


def test_an_address_with_a_token_in_the_place_of_a_password_is_not_kept(repository: Path) -> None:
    write(repository, {"requirements.txt": "git+https://ghp_0123456789abcdefghij@github.com/a/b\n"})
    assert "requirements.txt" not in bundle.collect(repository, {}, None).files
