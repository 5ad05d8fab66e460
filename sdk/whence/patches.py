"""Patches: the work tree as a diff of its commit, where its source is too much to be kept.

Decides what of it must not be handed on. Leaves to others: which files are code (`selection`), and what git says
of the work tree (`worktree`).
"""

import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import cast

from whence import contents, repository, selection, shelf, worktree
from whence_catalog import digest
from whence_catalog.blobs import BlobStore

_FORM = 1  # another one where other things are left out
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


_made: dict[str, digest.Digest] = {}


def store(root: Path, limit_bytes: int, blobs: BlobStore) -> digest.Digest | None:
    """The Blob of the diff of the work tree at `root`, made once for as long as that is the same; see `make`.

    Several questions to git make it, which is most of what capturing a large tree costs: the next process of this user
    takes what this one made.
    """
    tree = worktree.of(root)
    if tree is None:
        return None
    name = _name(tree)
    known = _made.get(name)
    if known is None and (kept := shelf.read(name)) is not None:
        known = digest.Digest.of(kept)
    if known is not None and not blobs.missing([known]):
        return known
    made = make(root, limit_bytes)
    if made is None:
        return None
    _made.clear()
    _made[name] = stored = blobs.put_bytes(made)
    shelf.write(name, stored.raw)
    return stored


def _name(tree: worktree.WorkTree) -> str:
    """What is another one once the diff may be: the commit counts, and files that no Bundle takes."""
    untaken: list[digest.Framed] = [
        # Where a file was written just now, the next process cannot tell whether it was written again.
        [os.fsencode(path), list(stamp or (time.time_ns(),))]
        for path, (stamp, content) in sorted(tree.kept.rows.items())
        if content is None
    ]
    made_of = [_FORM, os.fsencode(tree.root), tree.state, tree.facts.get("commit", ""), untaken]
    return f"patch-{digest.digest_of_bytes(digest.frame(cast('digest.Framed', made_of))).hex}"


def make(root: Path, limit_bytes: int) -> bytes | None:
    """What `git apply` makes of the commit, to have the work tree as it is: changed files, and new code.

    Nothing is written in the repository: new files go into an index, and a store of objects, that are
    thrown away. What a Bundle would not take for its name is not in it. None where git fails, or where it is
    more than `limit_bytes`.
    """
    folder = os.path.realpath(root)
    git, tree = repository.folder_of(folder), worktree.of(root)
    if git is None or tree is None:
        return None
    chosen = selection.settings(Path(folder))
    new = [path for path in tree.kept.untracked if _is_new_code(folder, path, chosen)]
    commit = tree.facts.get("commit", _EMPTY_TREE)
    hidden = [f":(exclude,literal,top){path}" for path in _secret(folder, commit)]
    hidden += [f":(exclude,literal){path}" for path in tree.kept.hidden]
    with tempfile.TemporaryDirectory(prefix="whence-") as scratch:
        variables = {
            "GIT_INDEX_FILE": os.path.join(scratch, "index"),
            "GIT_OBJECT_DIRECTORY": os.path.join(scratch, "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.join(repository.common_folder(git), "objects"),
        }
        os.mkdir(variables["GIT_OBJECT_DIRECTORY"])
        if os.path.exists(os.path.join(git, "index")):
            # With its time: git takes a file for unchanged that has its size and second, unless the index is as old.
            shutil.copy2(os.path.join(git, "index"), variables["GIT_INDEX_FILE"])
        added = repository.ask(folder, ["add", "--update", "--", ":/"], variables)
        if added is not None and new:
            listed = "\0".join(new).encode("utf-8", "surrogateescape")
            said = ["--literal-pathspecs", "add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"]
            added = repository.ask(folder, said, variables, listed)
        if added is None:
            return None
        made = repository.ask(
            folder,
            [
                "diff",
                "--cached",
                "--binary",
                "--full-index",
                "--no-color",
                "--no-ext-diff",
                "--no-textconv",
                "--no-renames",
                commit,
                "--",
                ":/",
                *hidden,
            ],
            variables,
        )
    made = None if made is None else _without_secrets(made)
    return made if made is not None and len(made) <= limit_bytes else None


def _without_secrets(made: bytes) -> bytes:
    """A patch without the files in whose lines a secret stands, also in those that were taken out.

    Modules of Python stay, as they do in a Bundle: code may say anything.
    """
    parts = re.split(rb"^(?=diff --git )", made, flags=re.MULTILINE)
    kept = [part for part in parts if not contents.holds_secret(part) or _of_module(part)]
    return b"".join(kept)


def _of_module(part: bytes) -> bool:
    return part.partition(b"\n")[0].rstrip(b'"').endswith(b".py")


def _is_new_code(folder: str, path: str, chosen: selection.Settings) -> bool:
    """Whether a file that is not in git is one that a Bundle takes."""
    file = os.path.join(folder, path)
    if selection.unfit(folder, path, os.path.islink(file)):
        return False
    try:
        size_bytes = os.stat(file).st_size
        if selection.why_not(path, size_bytes, False, chosen) is not None:
            return False
        return contents.of(file)[1].objection is None
    except OSError:
        return False


def _secret(folder: str, commit: str) -> list[str]:
    """The files of the index and of the commit, which may have been taken out since, whose names are secret."""
    listed = repository.ask(folder, ["ls-files", "-z", "--full-name", ":/"]) or b""
    listed += repository.ask(folder, ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]) or b""
    paths = dict.fromkeys(os.fsdecode(listed).split("\0"))
    return [path for path in paths if path and selection.is_secret(path, is_tracked=True)]
