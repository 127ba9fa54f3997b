"""`python -m app.cli`: what `python3 main.py` becomes inside `.venv`."""

import sys

from app.cli.main import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
