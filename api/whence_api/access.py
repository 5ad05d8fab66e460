"""For each verb the rule that is checked before it is carried out, and what is hidden of its answer after.

A server asks `carry_out` instead of the catalog: it admits the call, asks the catalog for what was admitted,
and reveals of the answer what the viewer may see. What may not be read does not exist: it is refused in the
words, and with the kind, of what is absent. In a batch an item that is refused is its own result, beside
those of the others, which are carried out.

Leaves to others: who somebody is (`auth`), whether a grant covers an action (`whence_catalog.access`), and
how values are masked (`masks`, `masking.mask`).
"""

from collections.abc import Callable, Mapping

from whence_api import judging, listing, questions, reading, writing
from whence_api.admission import Admission
from whence_catalog import access, catalog


def carry_out(
    viewer: access.Viewer, verb: str, arguments: Mapping[str, object], asked: catalog.Catalog
) -> object:
    """What the verb answers this viewer: admitted, carried out, and revealed. All that a route calls.

    Args:
        verb: a name in `verbs.VERBS`.
        arguments: as `Verb.decode_call` gives them; those that have a default may be left out.
        asked: the catalog. It blocks, as this function does.

    Raises:
        Denied, NotFound, InvalidInput: where the whole call is refused; and whatever the catalog raises.
    """
    return RULES[verb](Admission(viewer, asked), arguments)


# For each verb how it is carried out for somebody who may not do all; the first line of it is what they need.
RULES: Mapping[str, Callable[[Admission, Mapping[str, object]], object]] = {
    "identity": reading.identity,
    "reserve": writing.reserve,
    "finish_runs": writing.finish_runs,
    "record_runs": writing.record_runs,
    "add": writing.add,
    "log": writing.log,
    "move_aliases": writing.move_aliases,
    "quarantine": judging.quarantine,
    "release": judging.release,
    "approve": judging.approve,
    "hold": judging.hold,
    "deploy": judging.deploy,
    "label": judging.label,
    "beat": writing.beat,
    "sweep": writing.sweep,
    "resolve": reading.resolve,
    "traces": reading.traces,
    "artifacts": reading.artifacts,
    "productions": reading.productions,
    "aliases": reading.aliases,
    "judgements": judging.judgements,
    "reach": judging.reach,
    "judged": judging.judged,
    "run": reading.run,
    "runs": reading.runs,
    "projects_of": reading.projects_of,
    "series": reading.series,
    "closure": reading.closure,
    "lineage": reading.lineage,
    "lineage_with_hidden": reading.lineage_with_hidden,
    "lineage_counts": questions.lineage_counts,
    "paths": questions.paths,
    "roots_of": questions.roots_of,
    "common_ancestors": questions.common_ancestors,
    "impact": questions.impact,
    "difference": questions.compared,
    "explain": reading.explain,
    "explain_key": reading.explain_key,
    "explain_calls": reading.explain_calls,
    "plan": questions.plan,
    "plan_rerun": reading.plan_rerun,
    "audit": reading.audit,
    "position_at": reading.position_at,
    "facts": reading.facts,
    "changes": listing.changes,
    "check": reading.check,
    "versions": listing.versions,
    "states": listing.states,
    "named_productions": listing.named_productions,
    "named_runs": listing.named_runs,
    "versions_of": listing.versions_of,
    "aliases_of": listing.aliases_of,
    "productions_of": listing.productions_of,
    "consumers_of": listing.consumers_of,
    "children_of": listing.children_of,
    "inputs_of": listing.inputs_of,
    "outputs_of": listing.outputs_of,
    "list_runs": listing.list_runs,
    "alias_at": reading.alias_at,
    "timeline": listing.timeline,
    "deployments": listing.deployments,
    "search": listing.search,
    "cache_entries": listing.cache_entries,
    "cache_key": reading.cache_key,
    "divergences": listing.divergences,
    "cache_statistics": reading.cache_statistics,
    "evictable": reading.evictable,
    "revoke_entries": writing.revoke_entries,
    "evict_entries": writing.evict_entries,
    "add_token": writing.add_token,
    "tokens": writing.tokens,
    "revoke_token": writing.revoke_token,
}
