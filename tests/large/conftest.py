import pytest

from patchdistill.large import sizes, strata, target


@pytest.fixture(scope="module", autouse=True)
def small_sizes():
    """Make a dozen patches very many, so that every block, stratum and landmark is met with few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "LARGEST_DENSE", 10)
        patch.setattr(sizes, "_BLOCK", 90)
        patch.setattr(strata, "_STRATUM", 8)
        patch.setattr(target, "_LANDMARKS", 12)
        patch.setattr(target, "_LANDMARKS_PER_ROOT", 1)
        yield
