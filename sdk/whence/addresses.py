"""Addresses without what may be secret in them."""

import re
import urllib.parse

_SCP_LIKE = re.compile(r"[^@/\s]+@([^:/\s]+:.*)")


def without_credentials(url: str) -> str:
    """`url` without user, password, query and fragment, any of which may be a secret.

    The user `git` of an SSH address stays: it is a convention, and the address is of no use without it.
    """
    if "://" not in url:
        return _SCP_LIKE.sub(lambda found: ("git@" if url.startswith("git@") else "") + found[1], url)
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # a password with a slash in it reads as a port
    except ValueError:
        return re.sub(r"//.*@", "//", url).partition("?")[0].partition("#")[0]
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"git@{host}" if user == "git" else host
    return urllib.parse.urlunsplit((parts.scheme, netloc, parts.path, "", ""))
