"""`python -m ganlet`: the command line."""

from ganlet.cli import main

if __name__ == "__main__":
    main()
