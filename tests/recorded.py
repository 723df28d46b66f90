"""Where the recorded games are: in RINGRIFT_VECTORS, or in the shared folder beside the checkout."""

import os
from pathlib import Path

import pytest

VECTORS = Path(os.environ.get("RINGRIFT_VECTORS", Path(__file__).parents[2] / "shared" / "rules" / "vectors"))
FILES = sorted(VECTORS.glob("*.jsonl.gz"))

#: Marks a test that replays recorded games.
recorded = pytest.mark.skipif(not FILES, reason=f"no recorded games in {VECTORS}; set RINGRIFT_VECTORS to their folder")
