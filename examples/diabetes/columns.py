"""What stands in which column of a row."""


def split(rows: list[list[float]]) -> tuple[list[list[float]], list[float]]:
    """The features of each row, and what is to be told from them: the last column."""
    return [row[:-1] for row in rows], [row[-1] for row in rows]
