"""Repository: what git answers about a folder, asked so that nothing is written and nobody is waited for.

Leaves to others: what is looked at, and what is kept of it (`worktree`, `patches`).
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from whence import addresses

_GIT_SECONDS = 20.0
# Set inside hooks, where they would answer for another repository.
_REDIRECTIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


def folder_of(folder: str) -> str | None:
    """Where the repository around `folder` keeps what is of this work tree."""
    at = folder
    while True:
        found = os.path.join(at, ".git")
        if os.path.isdir(found):
            return found
        if os.path.isfile(found):  # of a work tree beside the first one, or of a submodule
            with open(found, encoding="utf-8", errors="surrogateescape") as file:
                said = file.read().partition("gitdir:")[2].strip()
            return os.path.normpath(os.path.join(at, said)) if said else None
        above = os.path.dirname(at)
        if above == at:
            return None
        at = above


def common_folder(git: str) -> str:
    """Where the work trees of one repository keep what they share."""
    try:
        with open(os.path.join(git, "commondir"), encoding="utf-8", errors="surrogateescape") as file:
            return os.path.normpath(os.path.join(git, file.read().strip()))
    except OSError:
        return git


def status(said: bytes, folder: str) -> tuple[dict[str, str], list[str], list[str]]:
    """The facts, the paths from `folder` of the files below it that are not tracked, and of all that changed.

    The last are from the top of the work tree.
    """
    found = {"dirty": "no"}
    untracked: list[str] = []
    changed: list[str] = []
    prefix = prefix_of(folder)
    lines = iter(os.fsdecode(said).split("\0"))
    for line in lines:
        match line[:2]:
            case "":
                continue
            case "# ":
                match line.split(" ", 2):
                    case ["#", "branch.oid", commit] if commit != "(initial)":
                        found["commit"] = commit
                    case ["#", "branch.head", branch] if branch != "(detached)":
                        found["branch"] = branch
                continue
            case "? ":
                path = line[2:]
                if path.startswith(prefix):
                    untracked.append(path[len(prefix) :])
            case "1 ":
                path = line.split(" ", 8)[-1]
            case "2 ":
                path = line.split(" ", 9)[-1]
                next(lines, None)  # where it was before it was renamed
            case _:
                path = line.split(" ", 10)[-1]
        found["dirty"] = "yes"
        changed.append(path)
    return found, untracked, changed


def prefix_of(folder: str) -> str:
    """The path of `folder` from the top of its work tree, with a slash behind it unless it is the top."""
    at, below = folder, ""
    while not os.path.exists(os.path.join(at, ".git")):
        below = f"{os.path.basename(at)}/{below}"
        at = os.path.dirname(at)
    return below


def listed(said: bytes) -> Iterator[tuple[str, str]]:
    """(Path, mode) of each row of `git ls-files --stage -z`."""
    for line in os.fsdecode(said).split("\0"):
        head, _, path = line.partition("\t")
        if path:
            yield path, head[:6]


def remote(folder: str) -> str | None:
    """The address of the remote `origin`, or of another one, without credentials."""
    said = ask(folder, ["config", "--get-regexp", r"^remote\..*\.url$"]) or b""
    urls = [line.split(" ", 1) for line in said.decode(errors="replace").splitlines() if " " in line]
    for _, url in sorted(urls, key=lambda named: named[0] != "remote.origin.url"):
        return addresses.without_credentials(url)
    return None


def ask(
    folder: str, arguments: Sequence[str], variables: Mapping[str, str] | None = None, given: bytes = b""
) -> bytes | None:
    """What git answers; None where there is no git, or it fails, or it takes too long."""
    process = start(folder, arguments, variables)
    return None if process is None else end(process, given)


def start(
    folder: str, arguments: Sequence[str], variables: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes] | None":
    """A question to git, under way; None where there is none."""
    kept = {name: value for name, value in os.environ.items() if name not in _REDIRECTIONS}
    kept |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(variables or {})}
    command = ["git", "-c", "core.fsmonitor=false", "-C", folder, *arguments]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, env=kept, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def end(process: "subprocess.Popen[bytes]", given: bytes = b"") -> bytes | None:
    """The answer to it; None where git failed, or takes too long."""
    try:
        said, _ = process.communicate(given, timeout=_GIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return said if process.returncode == 0 else None
