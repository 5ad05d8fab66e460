"""`whence history` and `whence deployments`: what was true, and what was known, at a time; and what is recorded late."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.journeys.test_cli import Cli, both, cli
from whence.client import Client
from whence_catalog.errors import InvalidInput

__all__ = ["cli"]


@pytest.fixture
def past(client: Client) -> Client:
    """Two models; the first was `prod` and served in May, which was recorded late; then the second."""
    client.publish("model:m", b"1")
    client.publish("model:m", b"2")
    client.alias("model:m@1", "prod", reason="the first", since="2026-05-02")
    client.deploy("model:m@1", "shop/eu", reason="go", since="2026-05-02T12:00+02:00")
    client.alias("model:m@2", "prod", reason="it is better", since="2026-05-04T09:00Z")
    client.deploy("model:m@2", "shop/eu", since="2026-05-04")
    client.withdraw("model:m", "shop/eu", reason="closed", since="2026-05-20")
    return client


def head(client: Client) -> int:
    return client.catalog.position_at(datetime.now(UTC) + timedelta(days=1))


# ── an alias ─────────────────────────────────────────────────────────────────────────────────────


def test_what_an_alias_meant_on_a_day_is_told_with_since_when_who_why_and_what_it_replaced(
    past: Client, cli: Cli
) -> None:
    text, first = both(cli, "history", "model:m@prod", "--at", "2026-05-03")
    assert (first["version"]["ref"], first["reason"], first["replaced"]) == ("model:m@1", "the first", None)
    assert (first["since"][:19], first["until"][:19]) == ("2026-05-02T00:00:00", "2026-05-04T09:00:00")
    for told in ("model:m@1", "2026-05-02 00:00:00", "2026-05-04 09:00:00", "the first", past.actor.name):
        assert told in text, told
    text, second = both(cli, "history", "model:m@prod", "--at", "2026-05-04")
    assert (second["version"]["ref"], second["replaced"], second["until"]) == ("model:m@2", 1, None)
    assert "it is better" in text
    # Of a day its end is meant; a time of that day may be before.
    assert cli("history", "model:m@prod", "--at", "2026-05-04T10:59+02:00", "--json").json == first


def test_what_an_alias_meant_is_told_as_it_was_known(past: Client, cli: Cli) -> None:
    known = past.timeline("model:m@2").items[-1].position + 1  # the first move, and nothing after it
    _, then = both(cli, "history", "model:m@prod", "--at", "2026-05-10", "--as-of", str(known))
    assert (then["version"]["ref"], then["until"]) == ("model:m@1", None)
    text, moves = both(cli, "history", "model:m@prod")
    assert [move["version"]["ref"] for move in moves] == ["model:m@2", "model:m@1"]
    assert text.index("it is better") < text.index("the first")
    _, moves = both(cli, "history", "model:m@prod", "--as-of", str(known))
    assert [(move["version"]["ref"], move["until"]) for move in moves] == [("model:m@1", None)]
    assert len(both(cli, "history", "model:m@prod", "-n", "1")[1]) == 1
    # A time is the last position by then.
    today = both(cli, "history", "model:m@prod", "--as-of", datetime.now(UTC).date().isoformat())[1]
    assert len(today) == 2


def test_that_an_alias_meant_nothing_is_told_from_that_it_was_not_known(past: Client, cli: Cli) -> None:
    text, nothing = both(cli, "history", "model:m@prod", "--at", "2026-05-01")
    assert (text, nothing) == ("model:m@prod meant nothing then\n", None)
    for asked in (["--at", "2026-05-10"], []):
        said = cli("history", "model:m@prod", "--as-of", "2", *asked)
        assert (said.code, said.out) == (1, "")
        assert "model:m@prod was known at position 2" in said.err
        assert len(said.err.splitlines()) == 1
        never = cli("history", "model:m@prd", *asked)
        assert (never.code, never.out) == (1, "")
        assert "no alias 'prd'; did you mean prod?" in never.err


# ── all that happened ────────────────────────────────────────────────────────────────────────────


def test_all_that_happened_to_an_artifact_or_a_version_is_listed_page_by_page(past: Client, cli: Cli) -> None:
    text, page = both(cli, "history", "model:m")
    assert [event["type"] for event in page["items"]] == [
        *("deployment ended", "deployed", "deployment ended", "aliased", "deployed", "aliased"),
        *("produced", "produced"),
    ]
    for told in (
        "prod moved to model:m@2, in place of model:m@1",
        "model:m@1 deployed to shop/eu",
        "2026-05-20 00:00:00  model:m@2 no longer served at shop/eu",
        "closed",
        "(known since 20",
    ):
        assert told in text, told
    shown, after = [], []
    while True:
        part = cli("history", "model:m", "-n", "3", "--json", *after).json
        shown += part["items"]
        if part["end"] is None:
            break
        after = ["--after", part["end"]]
    assert shown == page["items"]
    assert (
        f"there is more: --after {past.timeline('model:m', None, 3).end}"
        in cli("history", "model:m", "-n", "3").out
    )
    first = both(cli, "history", "model:m@1")[1]["items"]
    assert [event["type"] for event in first] == [
        "deployment ended",
        "aliased",
        "deployed",
        "aliased",
        "produced",
    ]
    assert [e["type"] for e in both(cli, "history", "model:m", "--as-of", "2")[1]["items"]] == [
        "produced"
    ] * 2


def test_versions_runs_and_artifacts_are_shown_as_they_were_known(past: Client, cli: Cli) -> None:
    """First is one model; then a second is made, and `prod` moves to it."""
    assert past.get("model:m", as_of=1).ref == "model:m@1"
    assert past.get("model:m@prod", as_of=head(past)).ref == "model:m@2"
    text, shown = both(cli, "show", "model:m", "--as-of", "3")
    assert (shown["output"]["version"]["ref"], shown["aliases"][0]["until"]) == ("model:m@2", None)
    _, first = both(cli, "show", "model:m@prod", "--as-of", "3")
    assert first["output"]["version"]["ref"] == "model:m@1"
    assert both(cli, "show", "model:m@1", "--as-of", "3")[1]["judgements"]["deployments"] == []
    run = str(past.get("model:m@2").output.run)
    assert both(cli, "show", run, "--as-of", "2")[1]["record"]["run"]["state"] == "complete"
    text, listed = both(cli, "ls", "--as-of", "3")
    assert [(a["versions"], a["latest"]["ref"], [x["name"] for x in a["aliases"]]) for a in listed] == [
        (2, "model:m@2", ["prod"])
    ]
    assert "model:m" in text
    assert both(cli, "ls", "--as-of", "0")[1] == []
    for refused in (["show", "model:m@prod", "--as-of", "2"], ["show", run, "--as-of", "1"]):
        assert "known at position" in cli(*refused).err


# ── what serves where ────────────────────────────────────────────────────────────────────────────


def test_what_serves_and_what_served_at_a_time_is_listed(past: Client, cli: Cli) -> None:
    text, none = both(cli, "deployments")
    assert (text, none["items"]) == ("nothing is deployed there\n", [])
    text, every = both(cli, "deployments", "--all")
    assert [(found["version"]["ref"], found["until"][:10]) for found in every["items"]] == [
        ("model:m@2", "2026-05-20"),
        ("model:m@1", "2026-05-04"),
    ]
    assert "closed" in text
    for at, served in (
        ("2026-05-01", []),
        ("2026-05-02T09:59", []),
        ("2026-05-02T10:00", ["model:m@1"]),
        ("2026-05-03", ["model:m@1"]),
        ("2026-05-04", ["model:m@2"]),
        ("2026-05-20", []),
    ):
        found = both(cli, "deployments", "--target", "shop/eu", "--at", at)[1]["items"]
        assert [each["version"]["ref"] for each in found] == served, at
    # What ended it was not known before it was said.
    known = str(head(past) - 1)
    (standing,) = both(cli, "deployments", "--of", "model:m", "--as-of", known)[1]["items"]
    assert (standing["version"]["ref"], standing["until"]) == ("model:m@2", None)
    past.deploy("model:m@1", "lab")
    assert [each["target"] for each in both(cli, "deployments", "--of", "model:m")[1]["items"]] == ["lab"]
    assert both(cli, "deployments", "--target", "shop/us")[1]["items"] == []
    assert both(cli, "deployments", "--of", "model:never")[1]["items"] == []


# ── recorded late ────────────────────────────────────────────────────────────────────────────────


def test_since_says_when_it_began(client: Client, cli: Cli) -> None:
    for content in (b"1", b"2"):
        client.publish("model:m", content)
    moved = cli("alias", "model:m@1", "prod", "--since", "2026-05-02", "--json").json
    assert moved["since"][:19] == "2026-05-02T00:00:00"
    deployed = cli("deploy", "model:m@1", "shop", "--since", "2026-05-02T12:00+02:00", "--json").json
    assert deployed["since"][:19] == "2026-05-02T10:00:00"
    ended = cli("withdraw", "model:m", "shop", "--since", "2026-05-03", "--json").json
    assert ended["until"][:19] == "2026-05-03T00:00:00"
    before = head(client)
    for command in (
        ["alias", "model:m@2", "prod", "--since", "2026-05-01"],
        ["deploy", "model:m@2", "shop", "--since", "2026-05-02"],
    ):
        said = cli(*command)
        assert (said.code, len(said.err.splitlines())) == (1, 1)
        assert "cannot be changed" in said.err
        later = cli(*command[:-1], "2999-01-01")
        assert later.code == 1
        assert "to come" in later.err
        assert cli(*command[:-1], "soon").code == 1
    assert head(client) == before


# ── what cannot be meant ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("history", "model:n"), "model:n is recorded"),
        (("history", "m"), "kind:name"),
        (("history", "model:m@9"), "model:m has 2 versions"),
        (("history", "model:m", "--at", "2026-05-03"), "names no alias"),
        (("history", "model:m@1", "--at", "2026-05-03"), "names no alias"),
        (("history", "model:m@prod", "--at", "2026-13-40"), "not a time: '2026-13-40'; write 2026-05-03"),
        (("history", "model:m@prod", "--at", "last week"), "not a time"),
        (("history", "model:m", "--as-of", "-1"), "or a position"),
        (("history", "model:m", "--as-of", "99999"), "the log goes from 0 to"),
        (("history", "model:m", "--as-of", "2999-01-01"), "is to come"),
        (("history", "model:m@1", "--as-of", "0"), "known at position 0"),
        (("history", "model:m", "--after", "nonsense"), "not a cursor"),
        (("deployments", "--at", "noon"), "not a time"),
        (("deployments", "--as-of", "99999"), "the log goes from 0 to"),
        (("deployments", "--of", "nothing"), "kind:name"),
        (("deployments", "--after", "nonsense"), "not a cursor"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    past: Client, cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    said = cli(*arguments)
    assert (said.code, said.out) == (1, "")
    assert says in said.err
    assert len(said.err.splitlines()) == 1


def test_a_cursor_is_of_one_list(past: Client, cli: Cli) -> None:
    end = past.timeline("model:m", None, 2).end
    assert end is not None
    for other in (["history", "model:m@1"], ["history", "model:m", "--as-of", "5"], ["deployments"]):
        assert "not a cursor" in cli(*other, "--after", end).err
    with pytest.raises(InvalidInput):
        past.timeline("model:m", "2999-01-01")
