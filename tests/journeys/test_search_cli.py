"""`whence search` and `whence label`, and the filters of `whence lineage`, as people and programs use them."""

import pytest

from tests.journeys.test_cli import Cli, both, catalog, cli
from whence.cli import searching
from whence.client import Client
from whence_catalog.errors import InvalidInput
from whence_catalog.model import MetricRange

__all__ = ["catalog", "cli"]


def test_what_was_labelled_is_shown_and_found(catalog: Client, cli: Cli) -> None:
    text, labels = both(cli, "label", "model:line@prod", "team=perception", "stage=a=b")
    assert labels == {"team": "perception", "stage": "a=b"}
    assert "team=perception" in text
    assert "label       team=perception" in cli("show", "model:line@2").out
    run = str(catalog.get("model:line@1").output.run)
    assert catalog.label(run[:23], team="perception") == {"team": "perception"}
    assert "team=perception" in cli("show", run).out
    text, hits = both(cli, "search", "--label", "team=perception")
    assert [hit["version"]["number"] if hit["version"] else hit["run"]["uid"] for hit in hits] == [2, run]
    assert "model:line@2" in text
    assert "perception" in text
    assert cli("label", run, "--remove", "team").out == "no labels\n"
    assert len(both(cli, "search", "--label", "team=perception")[1]) == 1


def test_runs_are_found_by_metrics_and_time(catalog: Client, cli: Cli) -> None:
    text, hits = both(cli, "search", "double", "--metric", "loss<=0.25", "--since", "2020-01-01", "-n", "1")
    assert [hit["run"]["metrics"] for hit in hits] == [{"loss": 0.25}]
    assert "loss=0.25" in text
    assert len(cli("search", "--type", "run", "--metric", "0.2 <= loss <= 0.3", "--json").json) == 2
    assert cli("search", "--metric", "loss>0.3").code == 1
    assert both(cli, "search", "--until", "2020-01-01T00:00:00+02:00")[0] == "nothing was found\n"
    assert [hit["artifact"] for hit in both(cli, "search", "lin")[1]] == ["model:line"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auc>=0.9", MetricRange("auc", 0.9)),
        ("val/auc <= -1e-3", MetricRange("val/auc", None, -0.001)),
        ("n=3", MetricRange("n", 3.0, 3.0)),
        (".1<=loss<=inf", MetricRange("loss", 0.1, float("inf"))),
    ],
)
def test_a_range_is_read_as_it_is_written(text: str, expected: MetricRange) -> None:
    assert searching.metric_range(text) == expected


@pytest.mark.parametrize("text", ["", "auc", "auc>0.9", ">=1", "auc>=", "auc>=nan", "auc>=much"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        searching.metric_range(text)


def test_what_cannot_be_meant_is_one_line(catalog: Client, cli: Cli) -> None:
    for arguments in (
        ("label", "model:line@1"),
        ("label", "model:line@1", "team"),
        ("label", "model:nothing@1", "a=b"),
        ("search", "--label", "team"),
        ("search", "--since", "yesterday"),
        ("lineage", "model:line@1", "--label", "team"),
        ("lineage", "model:line@1", "--as-of", "yesterday"),
    ):
        said = cli(*arguments)
        assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1), arguments
