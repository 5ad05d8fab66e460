"""What the verbs need that answer in pages, or for many names at once, and what of their answers is left out.

A list of one project's things is whole or absent. In a list of what may be of any project, items that may not
be read are left out and counted. Cursors are closed (`seal`): they hold positions, those of such items too.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar, cast
from uuid import UUID

from whence_api.admission import Admission
from whence_catalog import changes as following
from whence_catalog import model, replies
from whence_catalog.access import Grant

T = TypeVar("T")


def versions(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact."""
    references = cast("Sequence[model.Reference]", arguments["references"])
    as_of = cast("int | None", arguments.get("as_of"))
    admit = _of_artifacts(asked, references, _by_reference)
    return asked.each(references, admit, lambda some: asked.catalog.versions(some, as_of))


def states(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact."""
    references = cast("Sequence[model.Reference]", arguments["references"])
    return asked.each(references, _of_artifacts(asked, references, _by_reference), asked.catalog.states)


def named_productions(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact."""
    sources = cast("Sequence[model.Source]", arguments["sources"])
    admit = _of_artifacts(asked, sources, lambda source: source.artifact)
    return asked.each(sources, admit, asked.catalog.named_productions)


def named_runs(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; runs of projects that may not be read are absent."""
    as_of = cast("int | None", arguments.get("as_of"))
    found = asked.catalog.named_runs(cast("Sequence[UUID]", arguments["runs"]), as_of)
    readable = [run for run in found.values() if asked.may_read(run.project)]
    return {run.uid: run for run in asked.shown(readable)}


def versions_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact."""
    artifacts = cast("Sequence[model.Artifact]", arguments["artifacts"])
    admit = _of_artifacts(asked, artifacts, lambda artifact: artifact)
    return _listed(asked, "artifacts", arguments, admit, asked.catalog.versions_of)


def aliases_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact."""
    subjects = cast("Sequence[model.Reference]", arguments["subjects"])
    admit = _of_artifacts(asked, subjects, _by_reference)
    return _listed(asked, "subjects", arguments, admit, asked.catalog.aliases_of)


def productions_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact."""
    return _of_versions(asked, arguments, asked.catalog.productions_of)


def consumers_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact; other projects' runs are counted, and left out."""
    return _of_versions(asked, arguments, asked.catalog.consumers_of)


def children_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each run; other projects' runs are counted, and left out."""
    return _of_runs(asked, arguments, asked.catalog.children_of)


def inputs_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each run; other projects' versions are counted, and left out."""
    return _of_runs(asked, arguments, asked.catalog.inputs_of)


def outputs_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each run; other projects' versions are counted, and left out."""
    return _of_runs(asked, arguments, asked.catalog.outputs_of)


def list_runs(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of projects that may be read are listed."""
    return _in_projects(asked, arguments, asked.catalog.list_runs)


def cache_entries(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of projects that may be read are listed."""
    return _in_projects(asked, arguments, asked.catalog.cache_entries)


def divergences(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of projects that may be read are listed, without other projects' versions."""
    return _in_projects(asked, arguments, asked.catalog.divergences)


def deployments(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of projects that may be read are listed."""
    return _in_projects(asked, arguments, asked.catalog.deployments)


def timeline(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the artifact; of other projects' runs that made it, only their ids are told."""
    asked.require_artifact(cast("model.Reference", arguments["subject"]).artifact)
    page = asked.catalog.timeline(**_opened(asked, arguments))  # type: ignore[arg-type]
    return _closed(asked, [asked.shown(page)])[0]


def search(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; what is of projects that may be read is found."""
    return _in_projects(asked, arguments, asked.catalog.search)


def changes(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; what is of projects that may be read is told, and the rest is counted."""
    page: replies.ChangePage = asked.catalog.changes(**arguments)  # type: ignore[arg-type]
    if asked.sees_all:
        return page
    told = [heard for change in page.items if (heard := following.heard(change, asked.may_read)) is not None]
    return dataclasses.replace(page, items=tuple(told), masked=len(page.items) - len(told))


# ── rules ────────────────────────────────────────────────────────────────────────────────────────


def _by_reference(reference: model.Reference) -> model.Artifact:
    return reference.artifact


def _of_artifacts(
    asked: Admission, items: Sequence[T], artifact_of: Callable[[T], model.Artifact]
) -> Callable[[T], T]:
    """Admits those whose Artifact may be read."""
    alone = len({artifact_of(item) for item in items}) == 1

    def admit(item: T) -> T:
        asked.require_artifact(artifact_of(item), alone=alone)
        return item

    return admit


def _of_versions(
    asked: Admission, arguments: Mapping[str, object], ask: Callable[..., Sequence[object]]
) -> object:
    references = cast("Sequence[model.Reference]", arguments["versions"])
    return _listed(asked, "versions", arguments, _of_artifacts(asked, references, _by_reference), ask)


def _of_runs(
    asked: Admission, arguments: Mapping[str, object], ask: Callable[..., Sequence[object]]
) -> object:
    if not asked.sees_all:
        asked.know(cast("Sequence[UUID]", arguments["runs"]))

    def admit(run: UUID) -> UUID:
        asked.require_run(Grant.READ, run)
        return run

    return _listed(asked, "runs", arguments, admit, ask)


def _listed(
    asked: Admission,
    subjects: str,
    arguments: Mapping[str, object],
    admit: Callable[[T], T],
    ask: Callable[..., Sequence[object]],
) -> object:
    """A page for each subject that is admitted."""
    items = cast("Sequence[T]", arguments[subjects])
    rest = {name: value for name, value in _opened(asked, arguments).items() if name != subjects}
    return _closed(asked, asked.each(items, admit, lambda admitted: ask(admitted, **rest)))


def _in_projects(asked: Admission, arguments: Mapping[str, object], ask: Callable[..., object]) -> object:
    """A page of what is in the projects that may be read; those of them that are asked for."""
    if asked.sees_all:
        return ask(**arguments)
    wanted = cast("Iterable[str] | None", arguments.get("projects"))
    named = asked.viewer.grants.by_project if wanted is None else wanted
    readable = frozenset(project for project in named if asked.may_read(project))
    page = ask(**{**_opened(asked, arguments), "projects": readable})
    return _closed(asked, [asked.shown(page)])[0]


def _opened(asked: Admission, arguments: Mapping[str, object]) -> Mapping[str, object]:
    after = cast("str | None", arguments.get("after"))
    return arguments if after is None or asked.sees_all else {**arguments, "after": asked.seal().open(after)}


def _closed(asked: Admission, results: list[object]) -> list[object]:
    if asked.sees_all or not any(_has_cursors(result) for result in results):
        return results
    close = asked.seal().close
    return [
        dataclasses.replace(
            result,
            cursors=tuple(close(cursor) for cursor in result.cursors),
            end=None if result.end is None else close(result.end),
        )
        if isinstance(result, replies.Page)
        else result
        for result in results
    ]


def _has_cursors(result: object) -> bool:
    return isinstance(result, replies.Page) and (bool(result.cursors) or result.end is not None)
