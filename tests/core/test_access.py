"""Grants: what they allow, who may give them, and how they are written."""

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence_catalog import access
from whence_catalog.access import Grant, Grants
from whence_catalog.errors import InvalidInput

PROJECTS = st.sampled_from(["vision", "speech", "*"])
GRANTS = st.dictionaries(PROJECTS, st.frozensets(st.sampled_from(Grant), min_size=1)).map(Grants)


@pytest.mark.parametrize("grant", Grant)
def test_a_grant_allows_itself_and_to_read_in_its_project_and_nothing_elsewhere(grant: Grant) -> None:
    grants = Grants.parse([f"{grant}:vision"])
    allowed = {other for other in Grant if grants.allows(other, "vision")}
    assert allowed == (set(Grant) if grant is Grant.ADMINISTER else {grant, Grant.READ})
    assert not any(grants.allows(other, project) for other in Grant for project in ("speech", "*", "visio"))


def test_a_grant_in_every_project_holds_in_any() -> None:
    grants = Grants.parse(["record:*", "promote:vision"])
    assert grants.allows(Grant.RECORD, "speech")
    assert grants.allows(Grant.RECORD, "*")
    assert grants.allows(Grant.PROMOTE, "vision")
    assert not grants.allows(Grant.PROMOTE, "speech")
    assert not grants.allows(Grant.PROMOTE, "*")


def test_who_has_nothing_may_do_nothing() -> None:
    assert not any(Grants().allows(grant, project) for grant in Grant for project in ("vision", "*"))
    assert not any(Grants().allows_somewhere(grant) for grant in Grant)


@given(GRANTS, GRANTS)
def test_who_may_give_grants_holds_all_of_them(held: Grants, wanted: Grants) -> None:
    if held.may_give(wanted):
        assert all(
            held.allows(grant, project) for project, given in wanted.by_project.items() for grant in given
        )


def test_only_who_administers_a_project_may_give_grants_in_it() -> None:
    reader, head = Grants.parse(["read:vision", "record:vision"]), Grants.parse(["administer:vision"])
    assert not reader.may_give(Grants.parse(["read:vision"]))
    assert head.may_give(Grants.parse(["record:vision", "administer:vision"]))
    assert not head.may_give(Grants.parse(["read:vision", "read:speech"]))
    assert not head.may_give(Grants.parse(["read:*"]))
    assert Grants.parse(["administer:*"]).may_give(Grants.parse(["administer:*", "read:speech"]))


@given(GRANTS)
def test_grants_are_read_as_they_are_written(grants: Grants) -> None:
    assert Grants.parse(grants.texts) == grants


@pytest.mark.parametrize(
    "text",
    ["", "read", "read:", ":vision", "write:vision", "READ:vision", "read:a/b", "read:a:b", "read:a\nb"],
)
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Grants.parse([text])


@pytest.mark.parametrize("change", [{"name": ""}, {"name": "a\nb"}, {"actor": " "}, {"hash": b"short"}])
def test_a_token_that_cannot_be_meant_is_not_made(change: dict[str, object]) -> None:
    whole: dict[str, object] = {
        "uid": uuid.UUID(int=1),
        "name": "nightly",
        "actor": "robot",
        "hash": access.hash_of("whence_" + "a" * 43),
        "grants": Grants(),
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    access.Token(**whole)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        access.Token(**{**whole, **change})  # type: ignore[arg-type]


def test_a_secret_is_known_by_its_form() -> None:
    assert access.is_secret("whence_" + "aZ0_-" * 8 + "abc")
    assert not any(map(access.is_secret, ["", "whence_", "whence_" + "a" * 42, "whence_" + "a" * 44 + "\n"]))
