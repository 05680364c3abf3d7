"""Write the sample masters: `python samples/synthesise.py [FOLDER] [--seconds S]`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, its project is not

from ingest.master.synthesis import main  # noqa: E402 - after the path is set

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        arguments = [str(ROOT / "samples" / "masters"), *arguments]
    main(arguments)
