"""Fits an elastic net: `train.py ROWS MODEL --alpha A --l1-ratio R`."""

import argparse
import json
from pathlib import Path

from columns import split
from sklearn.linear_model import ElasticNet


def main() -> None:
    """The model is its weights, as JSON: nobody has to run code to read it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("model")
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--l1-ratio", type=float)
    asked = parser.parse_args()
    features, target = split(json.loads(Path(asked.rows, "train.json").read_text()))
    fitted = ElasticNet(alpha=asked.alpha, l1_ratio=asked.l1_ratio, random_state=42).fit(features, target)
    weights = {"weights": fitted.coef_.tolist(), "intercept": float(fitted.intercept_)}
    Path(asked.model).write_text(json.dumps(weights))


if __name__ == "__main__":
    main()
