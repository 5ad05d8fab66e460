"""Takes a table of patients apart into rows to learn from and rows to judge by: `prepare.py TABLE ROWS`."""

import csv
import json
import sys
from pathlib import Path


def main(table: str, rows: str) -> None:
    """Every fifth patient is kept back."""
    with open(table, newline="", encoding="utf-8") as file:
        patients = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]
    folder = Path(rows)
    folder.mkdir()
    parts = {"train": [], "test": []}
    for place, patient in enumerate(patients):
        parts["train" if place % 5 else "test"].append(patient)
    for name, part in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(part))
    print(f"{len(parts['train'])} to learn from, {len(parts['test'])} to judge by")


if __name__ == "__main__":
    main(*sys.argv[1:])
