"""The formats of docs/hashing.md are frozen: whence, a second implementation, and the golden vectors agree."""

import collections
import dataclasses
import enum
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.golden import regenerate, second
from whence_catalog import cache, digest, errors, facts, inventory, judging, manifest, model, traces

VECTORS = regenerate.load()

each_vector = pytest.mark.parametrize(
    ("section", "vector"),
    [
        pytest.param(section, vector, id=f"{section}: {vector['name']}")
        for section, vectors in VECTORS.items()
        for vector in vectors
    ],
)


def named(section: str, name: str) -> dict:
    return next(vector for vector in VECTORS[section] if vector["name"] == name)


# One value in the types of both


def whence_of(value: object) -> digest.Framed:
    """A value of the second implementation, as whence takes it."""
    match value:
        case list():
            return [whence_of(item) for item in value]
        case tuple():
            return tuple(whence_of(item) for item in value)
        case second.Set(members):
            return frozenset(whence_of(item) for item in members)
        case second.Map(entries):
            return {whence_of(key): whence_of(item) for key, item in entries}
        case second.Record(name, item):
            return digest.Record(name, whence_of(item))
    return value


def second_of(value: digest.Framed) -> object:
    """A value of whence, as the second implementation reads it: members and entries in the order of frames."""
    match value:
        case list():
            return [second_of(item) for item in value]
        case tuple():
            return tuple(second_of(item) for item in value)
        case frozenset():
            return second.Set(tuple(sorted(map(second_of, value), key=second.frame)))
        case dict():
            entries = [(second_of(key), second_of(item)) for key, item in value.items()]
            return second.Map(tuple(sorted(entries, key=lambda entry: second.frame(entry[0]))))
        case digest.Record(name, item):
            return second.Record(name, second_of(item))
    return value


def entries_of(rows: list[list]) -> list[manifest.Entry]:
    return [
        manifest.Entry(path, kind, size, digest.Digest.of(raw) if raw else None, *bit)
        for path, kind, size, raw, *bit in rows
    ]


# Golden vectors


def results(section: str, vector: dict) -> dict[str, object]:
    """What whence makes of a vector, beside `regenerate.results`."""
    match section:
        case "files":
            return {"digest": str(digest.digest_of_bytes(bytes.fromhex(vector["bytes"])))}
        case "digests":
            values = [whence_of(regenerate.value(described)) for described in vector["values"]]
            return {
                "frames": [regenerate.shown(digest.frame(value)) for value in values],
                "digest": str(digest.digest_of(vector["domain"], *values)),
            }
        case "trees":
            tree = manifest.build(entries_of(regenerate.entries(vector)), vector["domain"])
            top = regenerate.shown(tree.nodes[tree.root])
            return {"root": str(tree.root), "top": top, "nodes": len(tree.nodes)}
        case "keys":
            parts = [
                cache.component(
                    part["kind"],
                    None if part["ignored"] else whence_of(regenerate.value(part["value"])),
                    part["name"],
                    ignored=part["ignored"],
                )
                for part in vector["components"]
            ]
            return {"digests": [part.digest.hex() for part in parts], "key": cache.key(parts)}
        case "commitments":
            record = redactor().commit(vector["name"], vector["value"])
            return {"commitment": record.value.hex()}
        case "facts":
            actor = whence_of(regenerate.value(vector["actor"]))
            fact = facts.encode(
                vector["verb"],
                uuid.UUID(vector["uid"]),
                model.moment(vector["at"]),
                model.Actor(actor["name"], actor["authenticated"]),
                whence_of(regenerate.value(vector["body"])),
            )
            return {"fact": regenerate.shown(fact), "leaf": facts.leaf(fact).hex()}
    raise ValueError(f"not a section: {section!r}")


@each_vector
def test_whence_gives_every_golden_vector(section: str, vector: dict) -> None:
    found = results(section, vector)
    assert found == {field: vector[field] for field in found}


@each_vector
def test_the_second_implementation_gives_every_golden_vector(section: str, vector: dict) -> None:
    found = regenerate.results(section, vector)
    assert found == {field: vector[field] for field in found}


def test_only_values_that_are_the_same_share_a_digest() -> None:
    sharing = collections.defaultdict(set)
    for vector in VECTORS["digests"]:
        sharing[vector["digest"]].add(vector["name"])
    assert [names for names in sharing.values() if len(names) > 1] == [
        {
            "the canonical NaN",
            "a NaN with a sign",
            "a NaN with a payload",
            "a NaN with a sign and a payload",
        },
        {"a mapping", "the same mapping in another order"},
    ]


def test_every_tag_and_every_registered_name_has_a_vector() -> None:
    met = set()

    def meet(value: digest.Framed) -> None:
        met.add(digest.frame(value)[:1])
        match value:
            case list() | tuple() | frozenset():
                [meet(item) for item in value]
            case dict():
                [meet(item) for entry in value.items() for item in entry]
            case digest.Record(name, item):
                met.add(name)
                meet(item)

    for vector in VECTORS["digests"]:
        for described in vector["values"]:
            meet(whence_of(regenerate.value(described)))
    assert met == {b"N", b"B", b"I", b"F", b"S", b"Y", b"L", b"T", b"E", b"M", b"R", *digest.REGISTERED}
    assert set(second.NAMES) == digest.REGISTERED


# What the verbs say


def redactor() -> facts.Redactor:
    return facts.Redactor(lambda path: bytes.fromhex(named("commitments", path)["salt"]))


RUN = uuid.UUID("01890a5d24d07abc8def0123456789ab")
PARENT = uuid.UUID("01890a5d24d07abc8def0123456789aa")
IMAGES = model.Artifact("default", "dataset", "images")
DETECTOR = model.Artifact("default", "model", "detector")
ADA = model.Actor("ada", authenticated=True)


def content(text: str) -> digest.Digest:
    return digest.digest_of_bytes(text.encode())


def body_of(verb: str) -> digest.Framed:
    return whence_of(regenerate.value(named("facts", verb)["body"]))


def test_a_start_says_its_golden_body() -> None:
    image = digest.Record("whence.input", "images")
    call = model.Call(
        run=RUN,
        project="default",
        job="train",
        actor=ADA,
        mode=model.Mode.REUSE,
        params={"rate": 0.1, "images": [image, image], "limit": None},
        inputs=(
            model.InputClaim("images", model.Source(IMAGES, content("one"), PARENT), 0),
            model.InputClaim("images", model.Source(IMAGES, content("two")), 1),
        ),
        key="wk1:" + "1" * 64,
        components=(
            cache.component("params", 0.1, "params/rate", preview="0.1"),
            cache.component("params", True, "params/verbose", ignored=True),
        ),
        parent=PARENT,
        labels={"team": "vision"},
        capture=model.Capture(
            entry="shop.train:train",
            bundle=content("bundle"),
            python="3.11.7",
            git={"commit": "0" * 40},
            argv=("train.py", "--fast"),
            rerunnable=True,
            because=None,
        ),
        claimed_at=model.moment(1709210096000000),
    )
    assert facts.start(call, redactor()) == body_of("start")


def test_a_finish_says_its_golden_body() -> None:
    report = model.Report(
        uid=uuid.UUID(int=0),
        run=RUN,
        state=model.RunState.FAILED,
        actor=ADA,
        outputs=(
            model.OutputClaim(
                "return",
                DETECTOR,
                model.Content(content("model"), size_bytes=5),
                filename="model.bin",
                metadata={"layers": 3},
                metrics={"loss": 0.25},
                description="the first model",
                derived_from=(),
            ),
        ),
        metrics={"accuracy": 1.0},
        warnings=("slow",),
        error="ValueError: café",
    )
    outcome = model.Publication(model.Outcome.REFUSED, "the run failed")
    assert facts.finish(report, outcome, redactor()) == body_of("finish")


def test_an_alias_says_its_golden_body() -> None:
    move = model.AliasMove(uuid.UUID(int=0), DETECTOR, "prod", content("model"), ADA, reason="", expected=0)
    assert facts.alias(move, redactor()) == body_of("alias")


def test_an_alias_that_was_moved_before_it_was_said_says_since_when_and_is_read_back() -> None:
    since = model.moment(1709200000000001)
    move = model.AliasMove(uuid.UUID(int=0), DETECTOR, "prod", content("model"), ADA, since=since)
    body = body_of("alias that was moved before it was said")
    assert facts.alias(move, redactor()) == body
    assert facts.read_alias(move.uid, body) == dataclasses.replace(move, actor=model.Actor(""))


def test_a_start_says_why_it_executes_and_what_was_trusted() -> None:
    call = model.Call(
        run=RUN,
        project="default",
        job="train",
        actor=ADA,
        mode=model.Mode.REFRESH,
        key="wk1:" + "1" * 64,
        components=(cache.component("params", 0.1, "params/rate"),),
        capture=model.Capture(because=None),
        trusted=("images: s3://shop/images by its version",),
        reason="refreshed",
    )
    body = body_of("start of an execution that trusts")
    assert facts.start(call, redactor()) == body
    assert facts.read_start(body) == dataclasses.replace(call, actor=model.Actor(""))


def test_a_start_says_how_its_code_is_reached() -> None:
    call = model.Call(
        run=RUN,
        project="default",
        job="train",
        actor=ADA,
        mode=model.Mode.RECORD,
        capture=model.Capture(
            entry="jobs.train:main.<locals>.fit",
            bundle=content("bundle"),
            argv=("train.py", "--fast"),
            rerunnable=True,
            because=None,
            source=model.Reached.SCRIPT,
            cwd=".",
            search=("jobs", "."),
            command=("make",),
            closure={"rate": 0.5},
            diff=content("patch"),
        ),
    )
    body = body_of("start of a script that can be made again")
    assert facts.start(call, redactor()) == body
    assert facts.read_start(body) == dataclasses.replace(call, actor=model.Actor(""))


SEEN_AND_READ = model.Report(
    uid=uuid.UUID(int=0),
    run=RUN,
    state=model.RunState.COMPLETE,
    actor=ADA,
    trust="the bucket is versioned",
    observed=model.Observed(
        model.Watching.NOTE,
        files=("/etc/hosts", "settings.toml"),
        sockets=("127.0.0.1:5432",),
        subprocesses=("git",),
        variables=("HOME",),
        more={"files": 3},
        blind_spots=("files opened by libraries in C",),
        covered=False,
        holes=("shop.train:scaled",),
    ),
    trace=traces.Trace(
        "wk1:" + "2" * 64,
        "wk1:" + "3" * 64,
        ("settings",),
        (
            traces.Observation("settings", (), traces.Question.LENGTH, content("two").raw),
            traces.Observation("settings", ("layers", 0), traces.Question.GET, content("answer").raw),
        ),
    ),
)
UNWATCHED = model.Report(
    uid=uuid.UUID(int=0),
    run=RUN,
    state=model.RunState.COMPLETE,
    actor=ADA,
    observed=model.Observed(model.Watching.OFF),
)


@pytest.mark.parametrize(
    ("name", "report", "outcome"),
    [
        (
            "finish with what was seen and read",
            SEEN_AND_READ,
            model.Publication(model.Outcome.DIVERGED, "other bytes for return", is_divergence=True),
        ),
        ("finish of what was compared with nothing", UNWATCHED, model.Publication(model.Outcome.NONE)),
    ],
)
def test_a_finish_says_what_was_seen_and_read_and_it_is_read_back(
    name: str, report: model.Report, outcome: model.Publication
) -> None:
    body = body_of(name)
    assert facts.finish(report, outcome, redactor()) == body
    said = dataclasses.replace(report, actor=model.Actor(""), trust=None)
    assert facts.read_finish(report.uid, body) == (said, outcome)


UID = uuid.UUID(int=0)
MODEL = content("model")
JUDGED: dict[str, tuple[Callable, Callable, object]] = {
    "quarantine": (
        judging.quarantine,
        judging.read_quarantine,
        model.QuarantineClaim(UID, DETECTOR, MODEL, ADA, "labels are shifted"),
    ),
    "release": (
        judging.release,
        judging.read_release,
        model.Release(UID, uuid.UUID("01890a5d24d07abc8def0123456789a6"), ADA, "they were right after all"),
    ),
    "approve": (
        judging.approve,
        judging.read_approve,
        model.ApprovalClaim(UID, DETECTOR, MODEL, ADA, model.Decision.APPROVED, "it is good"),
    ),
    "approve that rejects without a reason": (
        judging.approve,
        judging.read_approve,
        model.ApprovalClaim(UID, DETECTOR, MODEL, ADA, model.Decision.REJECTED),
    ),
    "hold": (judging.hold, judging.read_hold, model.HoldClaim(UID, DETECTOR, MODEL, ADA, "a dispute")),
    "deploy": (
        judging.deploy,
        judging.read_deploy,
        model.DeploymentClaim(UID, DETECTOR, MODEL, "eu", ADA, "version 7"),
    ),
    "deploy of nothing any more": (
        judging.deploy,
        judging.read_deploy,
        model.DeploymentClaim(UID, DETECTOR, None, "eu", ADA),
    ),
    "deploy that was done before it was said": (
        judging.deploy,
        judging.read_deploy,
        model.DeploymentClaim(
            UID, DETECTOR, MODEL, "eu", ADA, "version 7", since=model.moment(1709200000000002)
        ),
    ),
    "deploy of nothing any more that was done before it was said": (
        judging.deploy,
        judging.read_deploy,
        model.DeploymentClaim(UID, DETECTOR, None, "eu", ADA, since=model.moment(-1)),
    ),
}


def test_a_label_says_its_golden_body_and_is_read_back() -> None:
    claim = model.LabelClaim(UID, str(RUN), ADA, {"team": "vision"}, frozenset({"stage", "draft"}))
    body = body_of("label of a run")
    assert judging.label(claim, RUN, redactor()) == body
    assert judging.read_label(body) == (RUN, {"team"}, {"stage", "draft"})
    source = model.Source(DETECTOR, MODEL)
    claim = model.LabelClaim(UID, f"{DETECTOR}@{MODEL}", ADA, remove=frozenset({"draft"}))
    body = body_of("label of a version")
    assert judging.label(claim, source, redactor()) == body
    assert judging.read_label(body) == (source, set(), {"draft"})


@pytest.mark.parametrize("name", JUDGED)
def test_a_judgement_says_its_golden_body_and_is_read_back(name: str) -> None:
    write, read, said = JUDGED[name]
    body = body_of(name)
    assert write(said, redactor()) == body
    # All but the reason, which is a commitment, and the actor, who stands beside the body.
    assert write(read(UID, body), redactor()) | {"reason": None} == body | {"reason": None}


@pytest.mark.parametrize(
    ("name", "said", "job", "limits", "reason"),
    [
        (
            "withdraw of what is revoked",
            judging.Withdrawal(("wk1:" + "1" * 64, "wk1:" + "2" * 64), judging.REVOKED),
            None,
            {},
            "a broken GPU",
        ),
        (
            "withdraw of what is evicted",
            judging.Withdrawal(("wk1:" + "1" * 64,), judging.EVICTED),
            "train",
            inventory.Limits(unused_for=timedelta(days=1), size_bytes=0).said,
            "room",
        ),
        (
            "withdraw that took nothing",
            judging.Withdrawal((), judging.EVICTED),
            None,
            inventory.Limits(entries=5).said,
            None,
        ),
    ],
)
def test_a_withdrawal_says_its_golden_body_and_is_read_back(
    name: str, said: judging.Withdrawal, job: str | None, limits: dict[str, int | None], reason: str | None
) -> None:
    body = body_of(name)
    assert judging.withdraw(said, "default", job, limits, reason, redactor()) == body
    assert judging.read_withdrawal(body) == said


def test_all_that_can_be_said_of_versions_and_entries_has_a_vector() -> None:
    have = {vector["verb"] for vector in VECTORS["facts"]}
    assert facts.VERBS - have == {"record", "reuse", "add", "log", "presume"}


# Laws

# How long an example takes says nothing about a format.
law = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.sampled_from(second.NAMES)
# A set or a mapping of Python cannot hold a list, nor tell 1 from True, nor one NaN from another.
MEMBERS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4, unique_by=whence_of).map(tuple).map(second.Set)
        | st.builds(second.Record, NAMES, inner)
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    MEMBERS | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(st.tuples(MEMBERS, inner), max_size=4, unique_by=lambda entry: whence_of(entry[0]))
        .map(tuple)
        .map(second.Map)
        | st.builds(second.Record, NAMES, inner)
    ),
    max_leaves=8,
)


@law
@given(VALUES)
def test_both_give_a_value_the_same_frame_and_read_it_back(value: object) -> None:
    data = second.frame(value)
    assert digest.frame(whence_of(value)) == data
    # By repr, which tells 1 from True and holds one NaN equal to another.
    assert repr(second_of(digest.unframe(data))) == repr(second_of(whence_of(value)))
    assert repr(second.unframe(data)) == repr(second_of(whence_of(value)))


@law
@given(
    st.binary(max_size=40) | VALUES.map(second.frame),
    st.integers(0, 200),
    st.sampled_from(b"NBIFSYLTEMR019-\0\xff"),
)
def test_whence_reads_nothing_that_the_second_implementation_refuses(
    data: bytes, place: int, byte: int
) -> None:
    altered = data[:place] + bytes([byte]) + data[place + 1 :]
    try:
        value = digest.unframe(altered)
    except errors.InvalidInput:
        return  # The other way does not hold: a set of 1 and True has a frame, and no value in Python.
    assert repr(second.unframe(altered)) == repr(second_of(value))


SEGMENTS = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=3)
PATHS = st.lists(SEGMENTS.filter(lambda text: text not in (".", "..")), min_size=1, max_size=3).map("/".join)
# Many and alike, so that there are trees of several nodes.
NUMBERED = st.integers(0, 2000).map(lambda number: f"{number % 7}/{number}")


def parents(path: str) -> list[str]:
    return [path[:place] for place, character in enumerate(path) if character == "/"]


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[list], str]:
    domain = draw(st.sampled_from([second.MANIFEST, second.BUNDLE]))
    paths = draw(st.sets(NUMBERED, max_size=200) | st.sets(PATHS | NUMBERED, max_size=30))
    rows = []
    for path in draw(st.permutations([path for path in paths if paths.isdisjoint(parents(path))])):
        number = len(rows)
        if number % 5 == 4:
            rows.append([path, "d", 0, b""])
        else:
            bit = [number % 2 == 0] if domain == second.BUNDLE else []
            rows.append([path, "f", number * number, second.sha256(path.encode()), *bit])
    return rows, domain


@law
@given(trees())
def test_both_give_a_tree_the_same_nodes_and_whence_reads_them_back(tree: tuple[list[list], str]) -> None:
    rows, domain = tree
    root, nodes = second.tree(rows, domain)
    built = manifest.build(entries_of(rows), domain)
    assert built.root.raw == root
    assert {name.raw: data for name, data in built.nodes.items()} == nodes
    read = manifest.read(digest.Digest.of(root), lambda name: nodes[name.raw])
    assert list(read) == entries_of(sorted(rows, key=lambda row: row[0].encode()))


COMPONENTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(cache.KINDS)), st.text(st.characters(codec="utf-8")), VALUES, st.booleans()
    ),
    max_size=6,
    unique_by=lambda part: part[:2],
)


@law
@given(COMPONENTS)
def test_both_give_components_the_same_key(parts: list[tuple[str, str, object, bool]]) -> None:
    theirs = [
        (f"{kind}/{name}", kind, second.IGNORED if is_ignored else second.component(kind, value))
        for kind, name, value, is_ignored in parts
    ]
    ours = [
        cache.component(kind, whence_of(value), f"{kind}/{name}", ignored=is_ignored)
        for kind, name, value, is_ignored in parts
    ]
    assert cache.key(ours) == second.key(theirs) == cache.key(reversed(ours))


# What has no canonical form

each_decoder = pytest.mark.parametrize(
    "unframe", [pytest.param(digest.unframe, id="whence"), pytest.param(second.unframe, id="second")]
)


def tagged(tag: str, payload: bytes) -> bytes:
    return tag.encode() + len(payload).to_bytes(8, "big") + payload


ONE, TWO, TEN, NOTHING = (second.frame(value) for value in (1, 2, 10, None))

MALFORMED = {
    "no bytes": b"",
    "a tag alone": b"N",
    "a truncated header": NOTHING[:-1],
    "a truncated payload": ONE[:-1],
    "a length beyond the end": b"S" + (5).to_bytes(8, "big") + b"four",
    "the greatest length": b"Y" + b"\xff" * 8,
    "a length short of the end": b"S" + (3).to_bytes(8, "big") + b"four",
    "a trailing byte": ONE + b"\0",
    "a second frame": ONE + TWO,
    "a little-endian length": b"I" + (1).to_bytes(8, "little") + b"1",
    "an item longer than its list": b"L" + (9).to_bytes(8, "big") + ONE,
    "a truncated item, which the next one would complete": tagged("L", tagged("L", ONE[:-1]) + b"1"),
    "an unknown tag": tagged("X", b""),
    "a tag in lower case": tagged("n", b""),
    "a tag that is not ASCII": b"\xff" + bytes(8),
    "an unknown tag in a list": tagged("L", tagged("X", b"")),
    "nothing with a payload": tagged("N", b"\0"),
    "a boolean of 2": tagged("B", b"2"),
    "a boolean as a byte": tagged("B", b"\1"),
    "a boolean without a payload": tagged("B", b""),
    "a boolean of two digits": tagged("B", b"01"),
    "an integer without digits": tagged("I", b""),
    "an integer with a leading zero": tagged("I", b"01"),
    "an integer of two zeros": tagged("I", b"00"),
    "a negative integer with a leading zero": tagged("I", b"-01"),
    "a negative zero": tagged("I", b"-0"),
    "a minus alone": tagged("I", b"-"),
    "an integer with a plus": tagged("I", b"+1"),
    "an integer with a space": tagged("I", b" 1"),
    "an integer with a line break": tagged("I", b"1\n"),
    "an integer with an underscore": tagged("I", b"1_0"),
    "an integer with an exponent": tagged("I", b"1e1"),
    "an integer with a point": tagged("I", b"1.0"),
    "an integer in digits that are not ASCII": tagged("I", "１".encode()),
    "a float of 4 bytes": tagged("F", bytes(4)),
    "a float of 9 bytes": tagged("F", bytes(9)),
    "a float without bytes": tagged("F", b""),
    "a float in decimal": tagged("F", b"1.0"),
    "a NaN with a payload": tagged("F", bytes.fromhex("7ff8000000000001")),
    "a NaN with a sign": tagged("F", bytes.fromhex("fff8000000000000")),
    "a signalling NaN": tagged("F", bytes.fromhex("7ff0000000000001")),
    "such a NaN in a list": tagged("L", tagged("F", bytes.fromhex("7ff8000000000001"))),
    "text that is not UTF-8": tagged("S", b"\xff"),
    "text that is cut within a character": tagged("S", "é".encode()[:1]),
    "text that is longer than it has to be": tagged("S", b"\xc0\x80"),
    "text with a lone surrogate": tagged("S", b"\xed\xa0\x80"),
    "a list of bytes that are no frame": tagged("L", b"1"),
    "a set out of order": tagged("E", TWO + ONE),
    "a set in the order of its numbers": tagged("E", second.frame(-1) + ONE),
    "a set with a member twice": tagged("E", ONE + ONE),
    "a mapping out of order": tagged("M", TWO + NOTHING + ONE + NOTHING),
    "a mapping in the order of its text": tagged("M", second.frame("aa") + ONE + second.frame("b") + ONE),
    "a mapping with a key twice": tagged("M", ONE + NOTHING + ONE + TWO),
    "a mapping with an entry twice": tagged("M", ONE + NOTHING + ONE + NOTHING),
    "a mapping with a key without a value": tagged("M", ONE),
    "a mapping within, out of order": tagged("L", tagged("M", TEN + ONE + TWO + ONE)),
    "a record of an unregistered name": tagged("R", second.frame("fraction") + ONE),
    "a record of a name in another case": tagged("R", second.frame("Date") + ONE),
    "a record whose name is bytes": tagged("R", second.frame(b"date") + ONE),
    "a record whose name is a list": tagged("R", second.frame(["date"]) + ONE),
    "a record without a value": tagged("R", second.frame("date")),
    "a record with two values": tagged("R", second.frame("date") + ONE + TWO),
    "a record without a name": tagged("R", b""),
}


@each_decoder
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in MALFORMED.items()])
def test_a_decoder_refuses_what_is_not_canonical(unframe: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises((errors.InvalidInput, ValueError)):
        unframe(data)


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


UNFRAMED = {
    "an object": object(),
    "text with a lone surrogate": "\ud800",
    "such text in a list": ["\ud800"],
    "a member of an enum of integers": Colour.RED,
    "a subclass of text": Text("a"),
    "a subclass of a tuple": collections.namedtuple("Point", "x")(1),
    "a subclass of a mapping": collections.OrderedDict(),
    "bytes that can change": bytearray(b"a"),
    "a complex number that is not in a record": 1j,
}


@pytest.mark.parametrize("frame", [digest.frame, second.frame])
@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in UNFRAMED.items()])
def test_what_is_not_in_the_table_has_no_frame(frame: Callable[[object], bytes], value: object) -> None:
    with pytest.raises((errors.InvalidInput, ValueError)):
        frame(value)


def test_a_key_that_only_equals_text_has_no_frame_even_after_that_text_had_one() -> None:
    digest.frame({"a": 1})
    with pytest.raises(errors.InvalidInput):
        digest.frame({Text("a"): 1})


def test_mappings_of_many_different_names_are_framed_as_they_ever_are() -> None:
    for place in range(3000):
        fields = {f"b{place}": 1, f"a{place}": "x", "c" * (place % 700): None}
        assert digest.frame(fields) == second.frame(second.Map(tuple(fields.items())))


@pytest.mark.parametrize(
    "paths",
    [[""], ["/a"], ["a/"], ["a//b"], ["."], ["a/.."], ["a/./b"], ["a", "a"], ["a", "a-b", "a/b"], ["\ud800"]],
    ids=str,
)
def test_both_refuse_a_tree_that_could_not_be_a_folder(paths: list[str]) -> None:
    rows = [[path, "f", 0, bytes(32)] for path in paths]
    with pytest.raises(ValueError):
        second.tree(rows)
    with pytest.raises(errors.InvalidInput):
        manifest.build(entries_of(rows))
