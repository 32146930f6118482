from __future__ import annotations

from collections.abc import Iterator

import pytest
from gloo_ranks import Ranks


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Two gloo processes, started once for all terms."""
    ranks = Ranks(2, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield ranks
    ranks.close()
