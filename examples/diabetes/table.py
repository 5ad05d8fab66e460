"""Writes scikit-learn's table of 442 diabetes patients as CSV: `table.py TABLE`."""

import csv
import sys

from sklearn.datasets import load_diabetes


def main(table: str) -> None:
    """Ten columns of features, and one of how the disease went on."""
    data = load_diabetes()
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*data.feature_names, "progression"])
        writer.writerows([*features, target] for features, target in zip(data.data, data.target, strict=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
