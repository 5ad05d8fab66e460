"""Fills in what new vectors in `vectors.json` come to, by the second implementation. Only for adding vectors.

Write a vector there without its results and run, from the root of the project,

    python -m tests.golden.regenerate

A result that stands there is never changed: the formats are frozen, so a result that comes out otherwise is
a fault, or a new meaning, and a new meaning takes a new domain name.

How a vector is written: a value is an object with its tag as the only key, so `{"I": "1"}`, `{"F": "16
hexadecimal digits"}`, `{"Y": "hexadecimal"}`, `{"M": [[key, value], …]}`, `{"R": ["date", value]}`. Digests
and salts are hexadecimal. An entry of a tree is `[path, kind, size, digest]`, with the executable bit after it
in a bundle; or all of them follow a rule, `{"count": n, "path": template}`: for i from 0 to n - 1, the file
`template.format(i=i, shard=i % 97)` has the size i, the digest of its path's UTF-8, and is executable in a
bundle where i is even. Among results, what is longer than 256 bytes is given by its digest.
"""

import json
import pathlib
import struct
import sys
from collections.abc import Mapping

from tests.golden import second

VECTORS = pathlib.Path(__file__).with_name("vectors.json")

_LONGEST_SHOWN = 256


def load() -> Mapping[str, list[dict]]:
    """The vectors, by section."""
    return json.loads(VECTORS.read_text(encoding="utf-8"))


def value(described: Mapping[str, object]) -> object:
    """The value that a description in the file means."""
    ((tag, said),) = described.items()
    match tag:
        case "N" | "B" | "S":
            return said
        case "I":
            return int(said)
        case "F":
            return struct.unpack(">d", bytes.fromhex(said))[0]
        case "Y":
            return bytes.fromhex(said)
        case "L":
            return [value(item) for item in said]
        case "T":
            return tuple(value(item) for item in said)
        case "E":
            return second.Set(tuple(value(item) for item in said))
        case "M":
            return second.Map(tuple((value(key), value(item)) for key, item in said))
        case "R":
            return second.Record(said[0], value(said[1]))
    raise ValueError(f"no value is described by {tag!r}")


def entries(vector: Mapping) -> list[list]:
    """The entries of a tree's vector, as they stand in a level-0 node."""
    said = vector["entries"]
    if isinstance(said, list):
        return [[path, kind, size, bytes.fromhex(raw), *bit] for path, kind, size, raw, *bit in said]
    paths = [said["path"].format(i=i, shard=i % 97) for i in range(said["count"])]
    is_bundle = vector["domain"] == second.BUNDLE
    return [
        [path, "f", i, second.sha256(path.encode()), *([i % 2 == 0] if is_bundle else [])]
        for i, path in enumerate(paths)
    ]


def shown(data: bytes) -> str:
    """Bytes as a result gives them."""
    return data.hex() if len(data) <= _LONGEST_SHOWN else second.written(second.sha256(data))


def results(section: str, vector: Mapping) -> dict[str, object]:
    """What the second implementation makes of a vector."""
    match section:
        case "files":
            return {"digest": second.written(second.sha256(bytes.fromhex(vector["bytes"])))}
        case "digests":
            values = [value(described) for described in vector["values"]]
            return {
                "frames": [shown(second.frame(one)) for one in values],
                "digest": second.written(second.digest_of(vector["domain"], *values)),
            }
        case "trees":
            root, nodes = second.tree(entries(vector), vector["domain"])
            return {"root": second.written(root), "top": shown(nodes[root]), "nodes": len(nodes)}
        case "keys":
            rows = [
                (
                    part["name"],
                    part["kind"],
                    second.IGNORED
                    if part["ignored"]
                    else second.component(part["kind"], value(part["value"])),
                )
                for part in vector["components"]
            ]
            return {"digests": [raw.hex() for _, _, raw in rows], "key": second.key(rows)}
        case "commitments":
            record = second.commitment(bytes.fromhex(vector["salt"]), vector["value"])
            return {"commitment": record.value.hex()}
        case "facts":
            fact = second.fact(
                vector["verb"],
                bytes.fromhex(vector["uid"]),
                vector["at"],
                value(vector["actor"]),
                value(vector["body"]),
            )
            return {"fact": shown(fact), "leaf": second.leaf(fact).hex()}
    raise ValueError(f"not a section: {section!r}")


def main() -> None:
    """Complete the file, or exit with the first vector that would change."""
    vectors = load()
    for section, members in vectors.items():
        for vector in members:
            for field, result in results(section, vector).items():
                if vector.setdefault(field, result) != result:
                    sys.exit(f"{section}: {vector['name']!r}: {field} is {vector[field]}, not {result}")
    # A vector to a line, so that a diff shows which were added; ASCII, so that no editor normalises a name.
    sections = (
        f"{json.dumps(section)}: [\n" + ",\n".join(map(json.dumps, members)) + "\n]"
        for section, members in vectors.items()
    )
    VECTORS.write_text("{\n" + ",\n".join(sections) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
