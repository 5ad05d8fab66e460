"""What is asked of plans beside the catalog: the code as it is now."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

import whence
from tests.pipelines import CAPTURE, Arithmetic, keyed
from whence import applying, connecting, planned
from whence_catalog import model, plans
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound


def test_code_that_cannot_be_told_is_said_to_be_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here_now.py").write_text(
        "import whence\n\n@whence.step\ndef told(c, e=2): return c\n\n@whence.step\ndef fewer(): return 1\n\n"
        "@whence.step\ndef more(c, d): return c\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    client = connecting.open_client(tmp_path / ".whence")
    maker = Arithmetic(
        captures={
            "told": replace(CAPTURE, entry="here_now:told"),
            "fewer": replace(CAPTURE, entry="here_now:fewer"),
            "more": replace(CAPTURE, entry="here_now:more"),
            "elsewhere": replace(CAPTURE, entry="not_here:elsewhere"),
            "command": replace(CAPTURE, entry=None, command=("sh", "prep.sh")),
        }
    )
    runs = {
        job: maker.call(client, job, 0, (), None if job == "keyless" else keyed(client, job, 0, ())).run.uid
        for job in ("told", "fewer", "more", "elsewhere", "command", "keyless")
    }
    found = planned.plan(client, [str(run) for run in runs.values()], code_now=True)
    assert list(found.request.code) == ["told"]
    assert not found.complete
    assert {reason.partition(": ")[0]: reason.partition(": ")[2] for reason in found.reasons} == {
        # Whoever carried it out would say that they were called as they cannot be.
        "with the code that it had, fewer": "it was called with c, which it does not take any more",
        "with the code that it had, more": "it needs d now, which it was not called with",
        "with the code that it had, elsewhere": (
            f"the code of elsewhere is not found in {tmp_path}: No module named 'not_here'"
        ),
        "with the code that it had, command": "it was recorded without its words",
        "with the code that it had, keyless": "it has no key, so that nothing says whether that changed",
    }
    elsewhere = connecting.open_client(tmp_path / "elsewhere")
    with pytest.raises(NotFound, match="the plan is of another catalog: this one has no run"):
        applying.refuse_if_changed(elsewhere, found, {})
    elsewhere.close()
    with pytest.raises(Conflict, match="without its words") as refused:
        planned.plan(client, [str(runs["command"])], code_now=True)
    assert refused.value.kind is ErrorKind.NOT_RERUNNABLE
    client.close()
    sys.modules.pop("here_now")


def test_code_is_looked_at_and_none_of_it_is_run_that_records_or_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = "import whence\n\n@whence.step\ndef made(c): return c\n"
    for name, more in (
        ("runs_a_step", "made(1)"),
        ("begins_a_run", "with whence.run('all'): pass"),
        ("ends", "import sys\nsys.exit(3)"),
        ("breaks", "1 / 0"),
        ("no_code", "def ("),
        ("speaks", "print('hello')"),
    ):
        (tmp_path / f"{name}.py").write_text(f"{step}{more}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    client = connecting.open_client(tmp_path / ".whence")
    names = ("runs_a_step", "begins_a_run", "ends", "breaks", "no_code", "speaks")
    maker = Arithmetic(captures={name: replace(CAPTURE, entry=f"{name}:made") for name in names})
    runs = [maker.call(client, name, 0, (), keyed(client, name, 0, ())).run.uid for name in names]
    facts = len(client.catalog.facts(0, 1000))
    found = planned.plan(client, [str(run) for run in runs], code_now=True)
    assert len(client.catalog.facts(0, 1000)) == facts
    assert list(found.request.code) == ["speaks"]
    said = {reason.partition(": ")[0].rpartition(" ")[2]: reason for reason in found.reasons}
    assert "would run it: put that under if __name__" in said["runs_a_step"]
    assert "would run it: put that under if __name__" in said["begins_a_run"]
    assert "SystemExit: 3" in said["ends"]
    assert "ZeroDivisionError" in said["breaks"]
    assert "SyntaxError" in said["no_code"]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")  # what is printed may be the plan as JSON
    client.close()
    for name in names:
        sys.modules.pop(name, None)


def test_what_is_recovered_is_what_failed_and_was_not_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "within_steps.py").write_text(
        "import whence\n\n@whence.step\ndef inner(c): return 1 / c\n\n@whence.step\ndef outer(c): return inner(c)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    client = connecting.connect(tmp_path / ".whence")
    failed: dict[str, UUID] = {}

    @contextlib.contextmanager
    def failing(job: str, retry_of: UUID | None = None) -> Iterator[None]:
        with contextlib.suppress(ZeroDivisionError), client.run(job, retry_of=retry_of) as run:
            failed[job] = run.uid
            yield
            raise ZeroDivisionError

    def fail(job: str, retry_of: UUID | None = None) -> UUID:
        with failing(job, retry_of):
            pass
        return failed[job]

    with failing("whole"):
        with client.run("worked in the end", retry_of=fail("second", fail("first"))):
            pass
        with failing("of parts"):
            fail("part")
            with contextlib.suppress(ZeroDivisionError):
                importlib.import_module("within_steps").outer(0)
        fail("alone")
    (outer,) = client.catalog.runs(None, "within_steps.outer")
    # A step that called another one that failed is made again whole: it has not made what it was to make.
    wanted = {failed["part"], failed["alone"], outer.uid}
    assert set(planned.recover(client, str(failed["whole"])).targets) == wanted
    sys.modules.pop("within_steps")


def test_what_looks_secret_is_in_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "a-secret-word")
    client = connecting.open_client(tmp_path / ".whence")
    run = Arithmetic().call(client, "told", 0, (), keyed(client, "told", 0, ())).run.uid
    for value in ("a-secret-word", {"password": "another"}):
        with pytest.raises(InvalidInput, match=r"told\.c.* looks secret, and a plan is kept") as refused:
            planned.plan(client, [str(run)], params={"told.c": value})
        assert "a-secret-word" not in str(refused.value)
    plain = planned.plan(client, [str(run)], params={"told.c": "a word"})
    assert plain.request.params == {"told": {"c": "a word"}}
    client.close()


def test_what_lies_elsewhere_is_looked_at_there_and_not_missed_in_the_store(tmp_path: Path) -> None:
    client = connecting.open_client(tmp_path / ".whence")
    place = tmp_path / "table.csv"
    place.write_text("1,2")
    with client.run("fill") as run:
        run.hand_on(whence.located("dataset", "table", str(place)))
    assert planned.plan(client, ["dataset:table"]).counts["reuse"] == 1
    place.write_text("3,4")
    found = planned.plan(client, ["dataset:table"])
    assert (found.counts["reuse"], found.request.vacant) == (0, {str(place)})
    client.close()


def test_a_plan_has_a_step_executed_exactly_where_a_call_would_execute_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "depends.py").write_text(
        "import pathlib, whence\n\n@whence.step(files=['conf.txt'], variables=['FLAVOUR'])\n"
        "def made(n, at): return n\n"
    )
    (tmp_path / "pyproject.toml").write_text("")
    for name in ("conf.txt", "named.txt"):
        (tmp_path / name).write_text("1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FLAVOUR", "sweet")
    client = connecting.connect(tmp_path / ".whence")
    made = importlib.import_module("depends").made

    def called() -> model.Run:
        made(1, Path("named.txt"))
        return client.catalog.runs(None, "depends.made", limit=1)[0]

    first = called()
    changes: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "a file that it declares": lambda: (tmp_path / "conf.txt").write_text("2"),
        "a file that it is handed the path of": lambda: (tmp_path / "named.txt").write_text("2"),
        "a variable": lambda: monkeypatch.setenv("FLAVOUR", "sour"),
        "no variable": lambda: monkeypatch.delenv("FLAVOUR"),
        "a salt": lambda: monkeypatch.setenv("WHENCE_SALT", "a grain"),
        "a file that is gone": lambda: (tmp_path / "conf.txt").unlink(),
    }
    told = {}
    for what, change in changes.items():
        change()
        found = planned.plan(client, [str(first.uid)], code_now=True)
        assert found.complete, found.reasons
        (step,), now = found.steps, called()
        assert step.key == now.key, what
        assert now.state is (
            model.RunState.REUSED if isinstance(step.step, plans.Reuse) else model.RunState.COMPLETE
        )
        told[what] = plans.name(step.step)
    assert [what for what, word in told.items() if word == "reuse"] == ["nothing"]
    sys.modules.pop("depends")
