"""The rooms keep their walls: what import-linter does not see."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import whence

ROOT = Path(__file__).parents[1]
PACKAGES = {"sdk": "whence", "catalog": "whence_catalog", "api": "whence_api"}
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc", "base", "core"}
HEAVY = [
    "sqlmodel",
    "sqlalchemy",
    "fastapi",
    "strawberry",
    "mlflow",
    "pandas",
    "numpy",
    "pydantic",
    "typer",
    "rich",
    "fsspec",
    "msgspec",
    "asyncio",
    "importlib.metadata",
    "whence.client",
    "whence_catalog.model",
]
# What somebody who records into a folder does not need, however much of it a question or a server would.
NOT_FOR_RECORDING = [
    "fsspec",
    "msgspec",
    "psycopg",
    "sqlalchemy.dialects.postgresql",
    "whence.changes",
    "whence.described",
    "whence.questions",
    "whence_catalog.audit",
    "whence_catalog.rerun",
    "whence_catalog.sql.graph",
    "whence_catalog.sql.pages",
    "whence_catalog.sql.search",
    "whence_catalog.verbs",
    "whence_catalog.wire",
]


def modules() -> Iterator[tuple[str, Path]]:
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_importing_the_sdk_loads_nothing_heavy() -> None:
    probe = f"import sys, whence; print(sorted(set(sys.modules) & set({HEAVY})))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_recording_into_a_folder_loads_nothing_that_only_others_need(tmp_path: Path) -> None:
    probe = f"""
import sys, whence
client = whence.connect(sys.argv[1])
with client.run("train", params={{"c": 1.0}}) as run:
    run.publish("model:detector", b"weights")
client.close()
print(sorted(set(sys.modules) & set({NOT_FOR_RECORDING})))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", probe, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_every_name_of_the_sdk_is_there_and_is_no_module_of_it() -> None:
    own = {path.stem for path in (ROOT / "sdk/whence").glob("*.py")}
    assert [name for name in whence.__all__ if not hasattr(whence, name)] == []
    assert own & set(whence.__all__) == set()


def test_sql_stands_in_its_own_room() -> None:
    for name, path in modules():
        if not name.startswith("whence_catalog.sql"):
            assert not any(
                found.partition(".")[0] in ("sqlite3", "sqlmodel", "sqlalchemy") for found in imports(path)
            ), name


def test_only_connect_and_the_command_name_the_sql_catalog() -> None:
    named = {
        name for name, path in modules() if any("whence_catalog.sql" in found for found in imports(path))
    }
    outside = {name for name in named if not name.startswith("whence_catalog.sql")}
    assert outside <= {
        "whence.connecting",
        "whence.cli.migration",
        "whence.cli.backup",
        "whence_api.app",
        "whence_api.__main__",
    }


def test_the_package_of_an_orchestrator_is_imported_by_its_own_adapter_alone_and_when_it_is_needed() -> None:
    orchestrators = {"airflow", "dagster", "dask", "flyte", "prefect", "ray"}
    for name, path in modules():
        named = {found.partition(".")[0] for found in imports(path)} & orchestrators
        own = {name.rpartition(".")[2]} if name.startswith("whence.adapters.") else set()
        assert named <= own, name
        assert not [found for found in imports(path) if own and found.startswith("whence.adapters")], name
    probe = "import sys, whence.adapters.ray; print('ray' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False"


def test_nothing_imports_the_folders_by_their_bare_names() -> None:
    for name, path in modules():
        assert not any(found.partition(".")[0] in PACKAGES for found in imports(path)), name


def test_no_module_is_a_drawer() -> None:
    assert [name for name, _ in modules() if name.rpartition(".")[2] in DRAWERS] == []


def test_no_file_holds_two_ideas() -> None:
    long = {name: len(path.read_text().splitlines()) for name, path in modules()}
    assert {name: lines for name, lines in long.items() if lines > 720} == {}


@pytest.mark.parametrize("pattern", ["TODO", "FIXME", "raise NotImplementedError"])
def test_nothing_is_left_for_later_in_the_code(pattern: str) -> None:
    assert [name for name, path in modules() if pattern in path.read_text()] == []


def test_nothing_in_the_project_names_a_place_outside_of_it() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    own = Path(__file__).resolve()
    for line in listed.splitlines():
        path = ROOT / line
        if path.suffix in (".py", ".md", ".toml", ".yml", "") and path.is_file() and path.resolve() != own:
            text = path.read_text(errors="replace")
            for word in ("/work/", "pypi.org", "pythonhosted"):
                assert word not in text, f"{line} names {word}"
