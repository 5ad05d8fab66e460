"""Draws patients to look at by hand, each time others, on purpose: `sample.py ROWS SAMPLE COUNTS`.

Nobody seeded it, it says when it was made, and a set of texts has another order in every process. What it counts is
the same each time.
"""

import json
import random
import sys
import time
from pathlib import Path


def main(rows: str, sample: str, counts: str) -> None:
    """The sample varies; the counts do not."""
    patients = json.loads(Path(rows, "train.json").read_text())
    drawn = {
        "at": time.time(),
        "patients": random.sample(range(len(patients)), 5),
        "groups": list({"low", "middle", "high", "unknown"}),
    }
    Path(sample).write_text(json.dumps(drawn))
    Path(counts).write_text(json.dumps({"patients": len(patients)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
