"""Judges a model by the rows that were kept back: `evaluate.py ROWS MODEL METRICS`."""

import json
import sys
from pathlib import Path

from columns import split
from sklearn.metrics import mean_absolute_error, r2_score


def main(rows: str, model: str, metrics: str) -> None:
    """Leaves a JSON object of numbers."""
    features, target = split(json.loads(Path(rows, "test.json").read_text()))
    fitted = json.loads(Path(model).read_text())
    guesses = [
        fitted["intercept"] + sum(w * x for w, x in zip(fitted["weights"], row, strict=True))
        for row in features
    ]
    found = {"mae": mean_absolute_error(target, guesses), "r2": r2_score(target, guesses)}
    Path(metrics).write_text(json.dumps(found))
    print(f"mae {found['mae']:.3f}, r2 {found['r2']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
