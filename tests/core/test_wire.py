"""JSON: every value has one, and it says no less."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.simulator import digest_of
from whence_catalog import cache, digest, model, wire


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (b"\x00\xff", "00ff"),
        (digest_of(b"A"), "sha256:559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd"),
        (digest.Record("datetime", 5), {"$datetime": 5}),
        (datetime(2026, 5, 3, tzinfo=UTC), "2026-05-03T00:00:00Z"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (model.Mode.REUSE, "reuse"),
        (frozenset({2, 1}), [1, 2]),
        ({1: "a", "b": (None, True)}, {"1": "a", "b": [None, True]}),
        (cache.Execute(cache.Reason.NO_ENTRY), {"reason": "no entry", "digests": [], "run": None, "token": None, "details": []}),
    ],
)  # fmt: skip
def test_a_value_in_nothing_but_what_json_has(value: object, plain: object) -> None:
    assert wire.plain(value) == plain
    assert json.loads(wire.encode(value)) == plain


def test_a_version_shows_its_reference() -> None:
    version = model.Version(
        model.Artifact("p", "model", "m"), 3, model.Content(digest_of(b"A")), datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert json.loads(wire.encode(version))["ref"] == "p/model:m@3"


def test_canonical_json_has_one_form() -> None:
    assert wire.canonical({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"é"],"b":1}'.encode()


def test_what_has_no_json_is_a_bug() -> None:
    with pytest.raises(TypeError):
        wire.plain(object())
