"""Images that the checks give to selectors, and comparisons."""

import numpy as np
from sklearn.base import clone

from patchdistill.bags import PatchBags

SIZES = (30, 17, 24)
N_FEATURES = 12


def make_images(sizes=SIZES, seed=0, dtype=np.float64):
    """Images with some structure: patches near a few scenes, on a few features."""
    rng = np.random.default_rng(seed)
    scenes = np.abs(rng.normal(size=(4, N_FEATURES)))
    return [(scenes[rng.integers(0, 4, n)] + 0.3 * rng.random((n, N_FEATURES))).astype(dtype) for n in sizes]


def make_bags(sizes=SIZES, seed=0):
    images = make_images(sizes, seed)
    fields = {"lon": [np.linspace(-180, 180, n) for n in sizes], "tag": [np.arange(n) * 10 for n in sizes]}
    return PatchBags.from_list(images, fields=fields, ids=[f"image {i}" for i in range(len(sizes))])


def kept_by(estimator, X):
    return clone(estimator).fit(X).get_support(indices=True)


def assert_same_patches(kept, expected):
    assert len(kept) == len(expected)
    for a, b in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_raises(errors, words, call):
    try:
        call()
    except errors as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"the error {str(error)!r} does not say {missing}"
    else:
        raise AssertionError(f"nothing was raised where {errors} was due")
