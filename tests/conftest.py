"""What all tests share: run-time checks of annotations, the place of real data, seeds and threads."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Before NumPy, numba and torch are imported, which read these once. More threads than this slow small arrays down;
# processes that run tests beside each other have one each.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ.setdefault("MPLBACKEND", "agg")
# What is compiled for tests is kept beside the build, not in the user's cache (on Linux).
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).resolve().parent.parent / "build" / "test-cache")
# Nor do tests find the models that a user has fetched (on Linux).
os.environ["XDG_DATA_HOME"] = str(Path(__file__).resolve().parent.parent / "build" / "test-data")

import numpy as np
import pytest
from hypothesis import settings

from tests import typecheck
from tests.conversions import keep_conversions

typecheck.install()

# A disk takes milliseconds for each of thousands, and nothing of a test has to outlive the machine.
os.fsync = lambda handle: None

settings.register_profile("tomoseg", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("tomoseg")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real scans; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("TOMOSEG_TEST_DATA") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real data, found none at {folder}; set TOMOSEG_TEST_DATA to its folder")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator that gives every test the same numbers in every run."""
    return np.random.default_rng(20240613)


@pytest.fixture(autouse=True, scope="session")
def conversions_kept() -> Iterator[None]:
    """Tests share conversions of equal networks, if any of them uses PyTorch."""
    with pytest.MonkeyPatch.context() as patch:
        if "torch" in sys.modules:
            keep_conversions(patch)
        yield
