"""`whence demo --url`: the same tour against a server that runs on PostgreSQL; takes about half a minute."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import postgres, servers


def test_the_tour_is_the_same_against_a_server_on_postgresql(tmp_path: Path) -> None:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("WHENCE_")}
    environment = {
        **inherited,
        "WHENCE_BLOBS": (tmp_path / "blobs").as_uri(),
        "WHENCE_CACHE_DIR": str(tmp_path / "cache"),
        "WHENCE_OUTBOX": str(tmp_path / "outbox"),
    }
    with postgres.shared().database() as url, servers.process(url) as server:

        def whence(*arguments: str) -> object:
            ended = subprocess.run(
                [sys.executable, "-m", "whence", *arguments, "--json"],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert ended.returncode == 0, ended.stderr
            return json.loads(ended.stdout)

        told = whence("demo", "--url", server.url)
        assert isinstance(told, dict)
        counts = [
            (told[name]["executed"], told[name]["reused"])
            for name in ("first", "second", "changed", "early_cutoff")
        ]
        assert counts == [(4, 0), (0, 4), (2, 2), (1, 3)]
        assert told["rerun"]["identical"] is True
        assert told["lineage"]["complete"] is True
        environment["WHENCE_URL"] = server.url
        checked = whence("check")
        assert isinstance(checked, dict)
        assert checked["problems"] == []
