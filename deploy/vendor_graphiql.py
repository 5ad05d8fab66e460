"""Fetches GraphiQL and what it stands on from npm, as built there, into api/whence_api/graphql/ide.

    python deploy/vendor_graphiql.py

The files are the packages' own, byte for byte. Their hashes go into `index.html`, whose `integrity` the browser
checks, and into `VENDORED.md`. For other versions, change `FILES`, run it, and look at the page.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

IDE = Path(__file__).parents[1] / "api" / "whence_api" / "graphql" / "ide"

# The newest GraphiQL that is built for a plain <script>; from 5 on it is ES modules and an editor of some megabytes.
FILES = {
    "react.min.js": ("react@18.3.1", "umd/react.production.min.js"),
    "react-dom.min.js": ("react-dom@18.3.1", "umd/react-dom.production.min.js"),
    "graphiql.min.js": ("graphiql@4.1.2", "graphiql.min.js"),
    "graphiql.min.css": ("graphiql@4.1.2", "graphiql.min.css"),
    "explorer.min.js": ("@graphiql/plugin-explorer@4.0.6", "dist/index.umd.js"),
    "explorer.css": ("@graphiql/plugin-explorer@4.0.6", "dist/style.css"),
}

HEAD = """\
# Vendored: GraphiQL

These files are other people's, unchanged, so that the page at `/graphql` works where no other host can be reached.
They are written by `python deploy/vendor_graphiql.py`; `index.html`, `start.js` and `start.css` are ours.
Their licences are in `LICENSES.txt`.

| file | package | licence | bytes | sha384 |
|---|---|---|---|---|
"""


def unpack(package: str, into: Path) -> Path:
    """The folder of a package as npm serves it; npm checks it against the registry's own hash."""
    into.mkdir(parents=True)
    packed = subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", package],
        cwd=into,
        check=True,
        capture_output=True,
        text=True,
    )
    shutil.unpack_archive(into / packed.stdout.split()[-1], into, filter="data")
    return into / "package"


def integrity(file: Path) -> str:
    """What an `integrity` attribute says of a file."""
    return "sha384-" + base64.b64encode(hashlib.sha384(file.read_bytes()).digest()).decode()


def vendor(scratch: Path) -> None:
    """Every file, its licence, and the hashes where they are told."""
    folders = {
        package: unpack(package, scratch / str(n))
        for n, package in enumerate({package for package, _ in FILES.values()})
    }
    page = (IDE / "index.html").read_text("utf-8")
    rows: list[str] = []
    licences: dict[str, list[str]] = {}
    for name, (package, path) in FILES.items():
        file = IDE / name
        shutil.copyfile(folders[package] / path, file)
        page, told = re.subn(
            rf'(ide/{re.escape(name)}"\s+integrity=")[^"]*', rf"\g<1>{integrity(file)}", page
        )
        if told != 1:
            raise SystemExit(f"index.html has no place for the hash of {name}")
        licence = json.loads((folders[package] / "package.json").read_text("utf-8"))["license"]
        rows.append(f"| {name} | {package} | {licence} | {file.stat().st_size} | `{integrity(file)}` |\n")
        text = next(folders[package].glob("LICENSE*"), None)
        # The plugin is packed without one; it is of GraphiQL's own repository.
        words = (text or folders[FILES["graphiql.min.js"][0]] / "LICENSE").read_text("utf-8").strip()
        licences.setdefault(words, []).append(package)
    (IDE / "index.html").write_text(page, "utf-8")
    (IDE / "VENDORED.md").write_text(HEAD + "".join(rows), "utf-8")
    (IDE / "LICENSES.txt").write_text(
        "\n\n".join(", ".join(dict.fromkeys(names)) + "\n\n" + words for words, names in licences.items())
        + "\n",
        "utf-8",
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        vendor(Path(folder))
