"""Shared fixtures, and how thoroughly Hypothesis looks: HYPOTHESIS_PROFILE, or `ci` where the environment sets CI."""

import os

import hypothesis
import pytest

# deadline=None: no test measures time, and a busy machine must not fail one
hypothesis.settings.register_profile("dev", max_examples=25, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=100, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def cupy():
    """CuPy with a CUDA device; the test is skipped where either is missing."""
    module = pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'scratchgpt[cuda12]'")
    if not module.is_available():
        pytest.skip("no CUDA device here")
    return module
