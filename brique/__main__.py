"""`python -m brique` is `brique`."""

from brique.cli import main

main()
