"""A bad dataset, from the command line: what it reaches, before and after; and what becomes of steps."""

import json
from typing import cast

import whence
from tests.journeys.test_cli import Cli, both, cli
from whence.client import Client
from whence_catalog import model

__all__ = ["cli"]


@whence.step(version="1")
def fit(data: whence.Dataset, rate: float) -> whence.Model:
    return whence.model("fitted", json.dumps([rate, data.load()]).encode())


@whence.step(version="1")
def grade(fitted: whence.Model) -> whence.Report:
    return whence.report("grade", fitted.path.read_bytes()[:8])


def pipeline(client: Client, data: whence.Dataset) -> tuple[str, str]:
    """Runs both steps; answers in which states their runs ended."""
    grade(fit(data, 0.5))
    runs = client.catalog.runs(limit=2)
    return runs[1].state.value, runs[0].state.value


def test_a_bad_dataset_is_quarantined_and_released(client: Client, cli: Cli) -> None:
    data = cast("whence.Dataset", client.publish("dataset:raw", [1, 2, 3]))
    assert pipeline(client, data) == ("complete", "complete")
    assert pipeline(client, data) == ("reused", "reused")
    client.alias("model:fitted", "prod")
    both(cli, "deploy", "model:fitted", "shop/eu", "--reason", "the only one")
    text, would = both(cli, "quarantine", "dataset:raw", "--reason", "labels are shifted", "--dry")
    assert "would reach" in text
    assert would["quarantine"] is None
    assert pipeline(client, data) == ("reused", "reused")  # nothing was done yet
    said = cli("quarantine", "dataset:raw", "--reason", "labels are shifted")
    assert said.code == 0
    for told in (
        "dataset:raw@1 is quarantined since",
        "labels are shifted",
        "dataset:raw@1 → ",
        "→ model:fitted@1 → ",
        "→ report:grade@1",
        "alias model:fitted@prod points at model:fitted@1",
        "model:fitted@1 serves at shop/eu",
        "is not reused",
        "3 productions",
    ):
        assert told in said.out, told
    shown = both(cli, "show", "model:fitted@1")
    assert "by the quarantine of dataset:raw@1: labels are shifted" in shown[0]
    assert [t["quarantine"]["version"]["ref"] for t in shown[1]["judgements"]["taints"]] == ["dataset:raw@1"]
    assert pipeline(client, data) == ("complete", "complete")
    (run,) = client.catalog.runs(limit=1)
    assert run.outcome == "refused: tainted"
    audited = cli("audit", "model:fitted@1")
    assert audited.code == 2
    assert "quarantine" in audited.out
    ended = cli("release", "dataset:raw", "--reason", "they were right")
    assert "released" in ended.out
    assert pipeline(client, data) == ("reused", "reused")
    assert cli("release", "dataset:raw", "--reason", "again").code == 1


def test_approvals_holds_and_withdrawals_are_shown_with_the_version(client: Client, cli: Cli) -> None:
    client.publish("model:m", b"weights")
    both(cli, "approve", "model:m", "--reason", "reviewed")
    assert both(cli, "approve", "model:m", "--reject")[1]["decision"] == "rejected"
    both(cli, "hold", "model:m", "--reason", "in court")
    cli("deploy", "model:m", "shop")
    assert cli("withdraw", "model:m", "shop", "--reason", "closed").code == 0
    text, shown = both(cli, "show", "model:m")
    for told in ("was approved", "was rejected", "is held since", "in court", "ended by", "closed"):
        assert told in text, told
    # Each was said twice: once to be read by people, once by programs.
    assert [len(shown["judgements"][name]) for name in ("approvals", "holds")] == [4, 2]
    refused = cli("release", "model:m", "--reason", "over")
    assert "several stand on model:m@1" in refused.err
    for hold in shown["judgements"]["holds"]:
        assert cli("release", hold["uid"], "--reason", "over").code == 0
    assert cli("release", "no id", "--reason", "over").code == 1
    assert cli("quarantine", "model:m", "--reason", " ").code == 1


def test_a_client_judges_by_reference(client: Client) -> None:
    client.publish("model:m", b"weights")
    assert client.approve("model:m").decision is model.Decision.APPROVED
    assert client.hold("model:m", reason="keep").until is None
    assert client.release("model:m", reason="enough").until is not None
    deployed = client.deploy("model:m", "shop")
    assert client.withdraw("model:m", "shop").uid == deployed.uid
    assert client.quarantine("model:m", reason="bad").version.ref == "model:m@1"
    assert [taint.version.ref for taint in client.judgements("model:m").taints] == ["model:m@1"]
