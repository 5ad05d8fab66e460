"""The closed lists of the catalog as GraphQL's enums, each value described. Imported before any type that has one."""

from enum import Enum

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from whence_catalog import cache, inventory, lineage, model, replies


def describe(listed: type[Enum], name: str, description: str, **values: str) -> None:
    """Have `listed` be the enum of that name. `values` describes each of its members by its name."""
    strawberry.enum(listed, name=name, description=description)
    definition: StrawberryEnumDefinition = listed.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = values[value.name]


describe(
    model.RunState,
    "RunState",
    "Where a Run stands.",
    RUNNING="It has begun, and not said that it ended.",
    COMPLETE="It ended as it should.",
    FAILED="It ended with an error.",
    ABORTED="It was stopped, or was not heard of any more.",
    REUSED="It did not execute: the result of its origin stands for it.",
)
describe(
    model.VersionState,
    "VersionState",
    "Where a Version stands.",
    LIVE="It may be used.",
    QUARANTINED="It was declared bad.",
    TAINTED="A production of it was made of something that was declared bad.",
)
describe(
    model.Strength,
    "Strength",
    "How much an identity proves, the strongest first.",
    CONTENT="It is our own SHA-256 of the content.",
    PROVIDER="It is what a store says of the content: a generation, an ETag, a version.",
    ASSERTED="It is a digest that somebody else computed.",
    WEAK="It is of a part of the content.",
    NONE="There is none: the production stands for it.",
)
describe(
    model.Form,
    "Form",
    "Whether some bytes are one file or a tree of them.",
    FILE="One file.",
    TREE="A folder of files.",
)
describe(
    model.Mode,
    "CacheMode",
    "How a Run treats the cache.",
    REUSE="It looks up, and enters its result.",
    REFRESH="It does not look up; its result takes the place of what was entered.",
    RECORD="Its key is kept; it neither looks up nor enters.",
    OFF="It has no key.",
)
describe(
    model.Watching,
    "Watching",
    "How closely a Run's reads are watched.",
    NOTE="They are noted.",
    STRICT="They are noted, and any of them makes it uncacheable.",
    OFF="Not at all.",
)
describe(
    model.Reached,
    "Reached",
    "How the code of a Run is reached, to run it again.",
    MODULE="By an import of its module.",
    SCRIPT="By an import of the script that was started.",
    NOTEBOOK="By an import of a module that was made from a notebook's cells.",
    BLOCK="Not at all: it is a block inside a program.",
    COMMAND="It is a command, which is started again.",
)
describe(
    model.Decision,
    "Verdict",
    "What an Approval says of a Version.",
    APPROVED="It may be used.",
    REJECTED="It may not.",
)
describe(
    inventory.EntryState,
    "CacheEntryState",
    "Where a cache entry stands.",
    LIVE="Look-ups find it.",
    REVOKED="It was declared wrong: look-ups say so, until a result supersedes it.",
    SUPERSEDED="Another stands in its place.",
    EVICTED="It made room.",
)
describe(
    cache.Reason,
    "Reason",
    "Why a look-up hands out no result. The list only grows.",
    NO_ENTRY="Nothing was entered under the key.",
    EXPIRED="What was entered is older than the caller allows.",
    OUTPUT_MISSING="An output of it is gone.",
    OUTPUT_ALTERED="An output of it is not what it was.",
    REVOKED="It was declared wrong.",
    QUARANTINED="An output of it is quarantined.",
    TAINTED="An output of it was made of something that is quarantined.",
    REFRESHED="The caller wanted it made anew.",
    UNCACHEABLE="Something about the call cannot be known well enough.",
    SAMPLED="It was made again to compare.",
    WAITED="Another computed it for longer than the caller would wait.",
    LEASE_LOST="It was not heard of for too long while it computed.",
    UNREACHABLE="The catalog could not be asked.",
    OVERWRITTEN="Another Run wrote to the place where an output lay.",
    NOT_ASKED="The caller did not want to look up.",
)
describe(
    cache.Change,
    "Change",
    "How a part of a key compares with its namesake in another key.",
    SAME="They are equal.",
    CHANGED="They differ.",
    ADDED="The other has none.",
    REMOVED="Only the other has it.",
    IGNORED="It does not count.",
)
describe(
    replies.HitType,
    "SearchType",
    "What a search can find.",
    VERSION="Versions, by content or by what they have.",
    ARTIFACT="Artifacts, by name.",
    JOB="Jobs, by name.",
    RUN="Runs, by what they have.",
)
describe(
    replies.ImpactType,
    "ImpactType",
    "What an item of an impact tells of.",
    DEPLOYMENT="A Deployment that serves a Version that came of it.",
    ALIAS="An alias that stands on such a Version.",
    VERSION="Such a Version.",
)
describe(
    replies.EventType,
    "EventType",
    "What can happen to a Version. The list only grows.",
    PRODUCED="A Run made it.",
    ALIASED="An alias was pointed at it, or from it elsewhere.",
    DEPLOYED="It began to serve.",
    DEPLOYMENT_ENDED="It served no longer.",
    APPROVED="It was approved.",
    REJECTED="It was rejected.",
    QUARANTINED="It was declared bad.",
    QUARANTINE_RELEASED="A Quarantine of it was ended.",
    HELD="It was to be kept, whatever retention says.",
    HOLD_RELEASED="A hold on it was ended.",
)
describe(
    lineage.Direction,
    "Direction",
    "Which way to go.",
    UP="Against the flow of data: what it came from.",
    DOWN="Along it: what came from it.",
    BOTH="Each of the two, from the same roots.",
)
describe(
    lineage.NodeType,
    "LineageNodeType",
    "What a node of a lineage stands for.",
    VERSION="A Version.",
    RUN="A Run.",
    DEPLOYMENT="A Deployment.",
)
describe(
    lineage.EdgeType,
    "LineageEdgeType",
    "What kind of step of the flow of data an edge is.",
    INPUT="From a Version to a Run that took it.",
    OUTPUT="From a Run to a Version that it made.",
    REUSED="From a Run to one that its result stood in for.",
    DERIVED="From a Version to one that a Run says it made of that.",
    DEPLOYED="From a Version to a Deployment in which it serves.",
)
