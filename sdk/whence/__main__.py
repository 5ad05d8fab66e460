"""`python -m whence` is the `whence` command."""

from whence.cli import main

main()
