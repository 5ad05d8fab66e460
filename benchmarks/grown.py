"""A catalog as it grows: every run, alias move and deployment of it is a function of its place.

However long it gets, each run takes three outputs of runs shortly before its own, so that a question with a bound
reaches as far in a catalog of a million runs as in one of ten thousand: what is slower there is slower because of
the catalog's size. Half of the runs are of jobs that are there from the beginning, whose Artifacts get ever more
Versions; the others are of jobs and Artifacts of their campaign, whose number grows.
"""

import dataclasses
import random

from benchmarks import history
from whence_catalog import model

# Of how many runs each is of one campaign, has one alias move, and one deployment.
CAMPAIGN, MOVED, DEPLOYED = 1_000, 1_000, 5_000
TEAMS = ("perception", "planning", "maps", "speech", "fleet")
PROD = model.Artifact("bench", "model", "model-0")
_JOBS, _TARGETS = 20, 10
# How many runs lie in a layer; each takes of the two layers before its own.
WIDTH = 25


def job(place: int) -> str:
    """The job that a run is of."""
    own = f"-{place // CAMPAIGN}" if place % 2 else ""
    return f"job-{place % _JOBS}{own}"


def artifact(place: int, role: str) -> model.Artifact:
    """The Artifact that what it made in a role is a Version of."""
    named = history.artifact(place, role)
    own = f"-{place // CAMPAIGN}" if place % 2 else ""
    return dataclasses.replace(named, name=named.name + own)


def source(place: int, role: str) -> model.Source:
    """The production of a run in a role."""
    return model.Source(artifact(place, role), history.content(place, role), history.uid(place))


def call(place: int) -> model.Call:
    """The start of a run: 3 inputs of two layers before its own, 8 parameters, 2 labels."""
    end = place // WIDTH * WIDTH
    choice = random.Random(place)
    earlier = choice.sample(range(max(0, end - 2 * WIDTH), end), 3) if end else []
    taken = [source(at, choice.choice(("table", "model"))) for at in earlier]
    return dataclasses.replace(
        history.call(place, WIDTH, model.Mode.RECORD),
        job=job(place),
        inputs=tuple(model.InputClaim(f"input-{n}", source) for n, source in enumerate(taken)),
        labels={"team": TEAMS[place % len(TEAMS)], "campaign": f"c{place // CAMPAIGN}"},
    )


def report(place: int) -> model.Report:
    """The end of a run: 2 outputs, 4 metrics."""
    made = history.report(place)
    outputs = tuple(
        dataclasses.replace(claim, artifact=artifact(place, claim.role)) for claim in made.outputs
    )
    score = random.Random(-place - 1)
    metrics = {name: score.random() for name in ("accuracy", "recall", "loss")} | {"rows": float(place)}
    return dataclasses.replace(made, outputs=outputs, metrics=metrics)


def whole(place: int) -> tuple[model.Call, model.Report]:
    """A run, as it is recorded in one call."""
    return call(place), report(place)


def move(place: int) -> model.AliasMove:
    """That `prod` means the model of a run, one of each thousand, from now on."""
    return model.AliasMove(
        history.uid(place, "move"),
        PROD,
        "prod",
        history.content(place, "model"),
        history.call(place, WIDTH).actor,
        reason=f"it was better than the one before: {place}",
    )


def deployment(place: int) -> model.DeploymentClaim:
    """That the model of a run, one of each five thousand, serves somewhere from now on."""
    return model.DeploymentClaim(
        history.uid(place, "deployment"),
        PROD,
        history.content(place, "model"),
        f"fleet-{place // DEPLOYED % _TARGETS}",
        history.call(place, WIDTH).actor,
        reason=f"rolled out: {place}",
    )
