"""`python -m ganlet.cli`."""

from ganlet.cli import main

main()
