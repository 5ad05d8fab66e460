"""Handwritten digits: from raw images to a model in production.

python pipeline.py [--c 1.0]
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from features import scaled

import whence
from whence import Dataset, Metrics, Model


@whence.step
def ingest() -> Dataset:
    """The 1,797 images of 8 by 8 pixels that come with scikit-learn."""
    from sklearn.datasets import load_digits  # here, so that a reused step need not import it

    leave_a_mark("ingest")
    digits = load_digits()
    folder = new_folder()
    np.save(folder / "pixels.npy", digits.data)
    np.save(folder / "labels.npy", digits.target)
    return whence.dataset("digits", folder, metadata={"images": len(digits.target)})


@whence.step
def split(digits: Dataset, test_share: float = 0.25, seed: int = 7) -> tuple[Dataset, Dataset]:
    """Features and labels to learn from, and others to judge by."""
    leave_a_mark("split")
    features = scaled(np.load(digits.path / "pixels.npy"))
    labels = np.load(digits.path / "labels.npy")
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out = round(test_share * len(labels))
    parts = []
    for name, rows in (("digits-train", order[held_out:]), ("digits-test", order[:held_out])):
        folder = new_folder()
        np.save(folder / "features.npy", features[rows])
        np.save(folder / "labels.npy", labels[rows])
        parts.append(whence.dataset(name, folder, metadata={"images": len(rows)}, derived_from=[digits]))
    return parts[0], parts[1]


@whence.step
def train(images: Dataset, c: float = 1.0) -> Model:
    """A logistic regression; `c` is how little it is held back."""
    from sklearn.linear_model import LogisticRegression

    leave_a_mark("train")
    classifier = LogisticRegression(C=c, max_iter=200)
    classifier.fit(np.load(images.path / "features.npy"), np.load(images.path / "labels.npy"))
    folder = new_folder()
    np.save(folder / "weights.npy", classifier.coef_)
    np.save(folder / "bias.npy", classifier.intercept_)
    (folder / "model.json").write_text(json.dumps({"kind": "logistic regression", "c": c}))
    return whence.model("digits", folder, derived_from=[images])


@whence.step
def evaluate(model: Model, images: Dataset) -> Metrics:
    """The share of unseen images that the model names right."""
    leave_a_mark("evaluate")
    scores = np.load(images.path / "features.npy") @ np.load(model.path / "weights.npy").T
    guesses = np.argmax(scores + np.load(model.path / "bias.npy"), axis=1)
    accuracy = float(np.mean(guesses == np.load(images.path / "labels.npy")))
    return whence.metrics("digits-quality", {"accuracy": accuracy})


def promote(model: Model, quality: Metrics) -> None:
    """Point `prod` at the model, if it is good enough."""
    accuracy = quality.metrics["accuracy"]
    if accuracy >= 0.9:
        whence.alias(model.ref, "prod", reason=f"accuracy {accuracy:.4f} on unseen images")


def new_folder() -> Path:
    """An empty folder for what a step makes."""
    return Path(tempfile.mkdtemp(prefix="digits-"))


def leave_a_mark(step: str) -> None:
    """Note outside of whence that a step's body ran, so that whoever watches need not take its word."""
    ledger = os.environ.get("DEMO_LEDGER")
    if ledger:
        with open(ledger, "a") as marks:
            marks.write(step + "\n")


def main(c: float) -> None:
    """The whole pipeline."""
    training, unseen = split(ingest())
    model = train(training, c=c)
    promote(model, evaluate(model, unseen))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--c", type=float, default=1.0)
    main(options.parse_args().c)
