"""What keeps a recorded Run from being made again: what it lacks, of what it needs, as things are now.

The rule is `whence_catalog.rerun`'s; here it is asked of a catalog and of a store. Leaves to others: making it (`replay`).
"""

from collections.abc import Mapping
from dataclasses import replace

from whence.client import Client, Verify
from whence_catalog import digest, model
from whence_catalog import rerun as reruns
from whence_catalog.errors import Damaged, WhenceError


def met(client: Client, record: model.RunRecord, error: Damaged) -> tuple[str, ...]:
    """What of that which a Run needs is the damage that was met when it was made again."""
    # What looks as it did to a quick look is read: that is what was met.
    found = unavailable(client, record, client.blobs.verify_deep)
    return reruns.obstacles(record, found) or (str(error),)


def asked(client: Client, record: model.RunRecord) -> tuple[reruns.Prospect, tuple[str, ...]]:
    """What making a Run again would come to, and all that keeps it from being made."""
    prospect = client.catalog.plan_rerun(str(record.run.uid), unavailable(client, record))
    return prospect, (*prospect.why, *_unfit(client, record))


def of(
    client: Client, record: model.RunRecord, inputs: Mapping[tuple[str, int], model.Output]
) -> tuple[str, ...]:
    """All that keeps a Run from being made with these in the place of inputs that it had."""
    taken = []
    for used in record.inputs:
        other = inputs.get((used.role, used.ordinal))
        taken.append(used if other is None else replace(used, version=other.version, producer=other.run))
    given = replace(record, inputs=tuple(taken))
    return (*reruns.obstacles(given, unavailable(client, given)), *_unfit(client, given))


def _unfit(client: Client, record: model.RunRecord) -> list[str]:
    """Why nothing is to be made of its inputs any more."""
    named = [model.Reference.parse(used.version.ref) for used in record.inputs]
    told = client.catalog.judgements(named, None) if named else ()
    why: list[str] = []
    for used, judged in zip(record.inputs, told, strict=True):
        if isinstance(judged, WhenceError):
            raise judged
        why += reruns.unfit(used, judged.taints)
    return why


def unavailable(
    client: Client, record: model.RunRecord, verify: "Verify | None" = None
) -> frozenset[digest.Digest]:
    """What of the source, the environment and the inputs of a Run is missing or altered in the store.

    `verify` is how closely to look, as of `Client.look`.
    """
    capture = record.run.capture
    trees = {i.version.digest for i in record.inputs if i.version.content.form is model.Form.TREE}
    wanted = {i.version.digest for i in record.inputs if i.version.content.strength is model.Strength.CONTENT}
    wanted |= {named for named in (capture.bundle, capture.environment) if named is not None}
    if capture.bundle is not None:
        trees.add(capture.bundle)
    _, missing, altered = client.look(frozenset(wanted), frozenset(trees), verify)
    return missing | altered
