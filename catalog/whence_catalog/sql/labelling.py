"""What `label` does with one item: reads, asks the core, writes."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from whence_catalog import facts, judging, model
from whence_catalog.errors import InvalidInput
from whence_catalog.sql import artifacts, labels, projections
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Transaction


def label(tx: Transaction, claim: model.LabelClaim) -> Mapping[str, str]:
    """Set and remove labels of one Run or Version."""
    judging.refuse_labels(claim)
    named = judging.labelled(claim.subject)
    subject = named if isinstance(named, UUID) else _source(tx, named)

    def body(redactor: facts.Redactor) -> facts.Body:
        return judging.label(claim, subject, redactor)

    stored = fact_log.find(tx, claim.uid, "label")
    if stored is not None:
        fact_log.reject_other(tx, stored, "label", claim.actor, body)
    else:
        said = judging.Labelled(subject, frozenset(claim.set), claim.remove)
        projections.labelled(tx, subject)  # what is not recorded is refused before anything is said
        fact = fact_log.append(tx, "label", claim.uid, claim.actor, body)
        projections.label(tx, fact, tx.at, said, claim.set)
    column, row = projections.labelled(tx, subject)
    of = labels.of_runs if column == "run_id" else labels.of_versions
    return of(tx, [row])[row]


def _source(tx: Transaction, reference: model.Reference) -> model.Source:
    version = artifacts.resolve(tx, reference).version
    return model.Source(version.artifact, version.digest)


def runs_named(claims: Sequence[model.LabelClaim]) -> Iterator[UUID]:
    """The Runs among what is labelled."""
    yield from (named for named in _named(claims) if isinstance(named, UUID))


def artifacts_named(claims: Sequence[model.LabelClaim]) -> Iterator[model.Artifact]:
    """The Artifacts of the Versions among what is labelled."""
    yield from (named.artifact for named in _named(claims) if isinstance(named, model.Reference))


def _named(claims: Sequence[model.LabelClaim]) -> Iterator[UUID | model.Reference]:
    for claim in claims:
        # What means nothing is refused when its turn comes.
        with contextlib.suppress(InvalidInput):
            yield judging.labelled(claim.subject)
