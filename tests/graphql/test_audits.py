"""The suite of the people who write the GraphQL over HTTP specification, run on a server of ours."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from whence_catalog.sql import catalog as catalogs

AUDITS = Path(__file__).parent / "audits"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    catalog = catalogs.open_url(str(tmp_path / "catalog.db"))
    with servers.in_thread(catalog) as found:
        yield f"{found}/graphql"
    catalog.close()


def test_every_audit_of_graphql_over_http_passes(url: str, tmp_path: Path) -> None:
    suite = tmp_path / "audits"
    shutil.copytree(AUDITS, suite, ignore=shutil.ignore_patterns("node_modules"))
    said = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=suite,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    ran = subprocess.run(["node", "audits.mjs", url], cwd=suite, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [audit for audit in found if audit["status"] != "ok"] == []
    assert len(found) == 61


def test_what_npm_locked_names_no_place_to_fetch_it_from() -> None:
    locked = json.loads((AUDITS / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in locked.values())
    assert all("integrity" in package for name, package in locked.items() if name)
