"""Hypothesis strategies for embeddings and bags; they need the package hypothesis."""

import numpy as np
from hypothesis import strategies as st

from patchdistill.bags import PatchBags

STRUCTURES = ("normal", "rectified", "low rank", "clusters", "integers")


@st.composite
def embeddings(draw, n_patches=(1, 25), n_features=(1, 30), structures=STRUCTURES, copies=True, zero_rows=True):
    """Embeddings of one image, plain and awkward.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    n_patches, n_features : tuple of int, default=(1, 25), (1, 30)
        Smallest and largest number.
    structures : sequence of str, default=STRUCTURES
        What the entries may look like: ``"normal"``, ``"rectified"`` (non-negative, many zeros, as after a ReLU),
        ``"low rank"``, ``"clusters"`` (tight groups of patches), ``"integers"`` (many equal distances).
    copies : bool, default=True
        Whether some patches may be exact copies of others.
    zero_rows : bool, default=True
        Whether some patches may be all zeros.

    Returns
    -------
    ndarray of float64, shape (n_patches, n_features)
        Embeddings.
    """
    n, d = draw(st.integers(*n_patches)), draw(st.integers(*n_features))
    structure = draw(st.sampled_from(structures))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    E = _entries(rng, n, d, structure)
    if copies and n > 1 and draw(st.booleans()):
        chosen = rng.integers(0, n, size=rng.integers(1, n))
        E[chosen] = E[rng.integers(0, n, size=len(chosen))]
    if zero_rows and draw(st.booleans()):
        E[rng.integers(0, n)] = 0.0
    return E


def _entries(rng, n, d, structure):
    if structure == "integers":
        return rng.integers(-2, 3, size=(n, d)).astype(float)
    if structure == "low rank":
        return rng.normal(size=(n, 2)) @ rng.normal(size=(2, d))
    if structure == "clusters":
        return rng.normal(size=(3, d))[rng.integers(0, 3, size=n)] + 1e-3 * rng.normal(size=(n, d))
    E = rng.normal(size=(n, d))
    return np.maximum(E, 0.0) if structure == "rectified" else E


@st.composite
def patch_bags(draw, n_images=(1, 4), n_patches=(1, 12), n_features=(1, 8)):
    """Ragged bags with fields and names.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    n_images, n_patches, n_features : tuple of int
        Smallest and largest number.

    Returns
    -------
    PatchBags
        Bags with fields ``lon`` and ``pixels``, and strings as ids.
    """
    d = draw(st.integers(*n_features))
    images = [draw(embeddings(n_patches=n_patches, n_features=(d, d))) for _ in range(draw(st.integers(*n_images)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fields = {
        "lon": [rng.uniform(-180, 180, size=len(image)) for image in images],
        "pixels": [rng.integers(0, 256, size=(len(image), 2, 2, 3), dtype=np.uint8) for image in images],
    }
    return PatchBags.from_list(images, fields=fields, ids=[f"image {i}" for i in range(len(images))])
