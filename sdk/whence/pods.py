"""Pods: what a container is told of the Kubernetes pod that it is part of.

Decides which facts are kept: name, namespace, uid and node of the pod, and what of processor and memory it may use.
They come from the downward API under the names that are usual (`POD_NAME`, `POD_NAMESPACE`, `POD_UID`, `NODE_NAME`; or
files of those facts in `/etc/podinfo`), from the service account, and from the control group. Labels and annotations
are left alone, since they may say anything. Outside of Kubernetes there are none.
"""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

_VARIABLES = {
    "name": ("POD_NAME", "MY_POD_NAME", "HOSTNAME"),
    "namespace": ("POD_NAMESPACE", "MY_POD_NAMESPACE"),
    "uid": ("POD_UID", "MY_POD_UID"),
    "node": ("NODE_NAME", "MY_NODE_NAME"),
}
_FILES = {
    "name": ("etc/podinfo/name",),
    "namespace": ("etc/podinfo/namespace", "var/run/secrets/kubernetes.io/serviceaccount/namespace"),
    "uid": ("etc/podinfo/uid",),
    "node": ("etc/podinfo/node",),
}
_POD_UID = re.compile(r"pod([0-9a-f]{8}([-_])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12})")
_LONGEST = 253


def facts() -> Mapping[str, str]:
    """The facts of this process's pod, by name: `name`, `namespace`, `uid`, `node`, `cpu`, `memory`."""
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        return {}
    return found(Path("/"), tuple(sorted((k, v) for k, v in os.environ.items() if k in _READ)))


_READ = frozenset(name for names in _VARIABLES.values() for name in names)


@functools.lru_cache(maxsize=4)
def found(root: Path, variables: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """What is said under `root`, and in these variables, of the pod."""
    said = dict(variables)
    facts: dict[str, str] = {}
    for fact, names in _VARIABLES.items():
        values = [_read(root / file) for file in _FILES[fact]]
        values = (
            [said.get(name, "") for name in names[:2]] + values + [said.get(name, "") for name in names[2:]]
        )
        if value := next((value for value in values if value), ""):
            facts[fact] = value
    if "uid" not in facts and (match := _POD_UID.search(_read(root / "proc/self/cgroup", 1 << 16))):
        facts["uid"] = match[1].replace("_", "-")
    quota, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        facts["cpu"] = f"{int(quota) / int(period):g}"
    memory = _read(root / "sys/fs/cgroup/memory.max")
    if memory.isdigit():
        facts["memory"] = memory
    return facts


def _read(file: Path, longest: int = _LONGEST) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read(longest).strip()
    except OSError:
        return ""
