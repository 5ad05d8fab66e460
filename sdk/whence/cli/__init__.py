"""The `whence` command."""

import sys


def main() -> None:
    """Run the command; an absent extra is named instead of a traceback."""
    try:
        from whence.cli import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in (
            "typer",
            "rich",
            "sqlmodel",
            "sqlalchemy",
            "alembic",
            "click",
        ):
            print(
                f"whence: the command needs {error.name}; run: pip install 'whence[local]'", file=sys.stderr
            )
            sys.exit(1)
        raise
    app.run()
