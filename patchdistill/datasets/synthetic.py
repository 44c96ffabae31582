"""Synthetic panoramas: dead leaves on the sphere."""

import numpy as np
from scipy.ndimage import map_coordinates
from sklearn.utils import check_random_state

from patchdistill.panorama import to_sphere, to_vectors

# Radii in radians have a density that falls with the third power between these two: the law with which dead leaves
# look alike at all scales (Lee, Mumford and Huang 2001).
SMALLEST, LARGEST = 0.02, 1.0
# All but about two pixels in a thousand lie below a leaf; the last leaf is the whole sphere, so that none stays empty.
N_LEAVES = 8000

# Texture: lattices of random numbers, each twice as fine as the one before, with the same contrast: power falls with
# the square of the frequency, as in photographs.
_LATTICE, _COARSEST, _OCTAVES = 32, 6.0, 4


def make_panoramas(n_scenes=4, height=256, random_state=0):
    """Make panoramas of no place: round leaves of many sizes that cover each other, on the sphere.

    Dead leaves share with photographs what models of quality rely on: edges at all scales, a power spectrum that falls
    with about the square of the frequency, and gradients with heavy tails. Each leaf is a disc on the sphere with its
    own color, shading and texture, so that nothing is seen of the seam or of the poles.

    Parameters
    ----------
    n_scenes : int, default=4
        Number of panoramas, at least 1. The first ones are the same for every number.
    height : int, default=256
        Height in pixels, at least 2; the width is twice that. A scene is the same at every height.
    random_state : int, RandomState instance or None, default=0
        Draws the leaves.

    Returns
    -------
    ndarray of uint8, shape (n_scenes, height, 2 * height, 3)
        The panoramas, equirectangular: longitude 0 in the middle and growing to the right, the north pole on top.

    Raises
    ------
    ValueError
        If `n_scenes` or `height` is too small.

    See Also
    --------
    make_cviq_like : A rated data set of such scenes.

    References
    ----------
    A. B. Lee, D. Mumford and J. Huang, "Occlusion models for natural images: A statistical study of a scale-invariant
    dead leaves model", IJCV 2001.

    Examples
    --------
    >>> make_panoramas(2, height=32).shape
    (2, 32, 64, 3)
    """
    if n_scenes < 1 or height < 2:
        raise ValueError(f"n_scenes must be at least 1 and height at least 2; got {n_scenes} and {height}.")
    rng = check_random_state(random_state)
    vectors = _directions(height)
    return np.stack([_scene(vectors, rng) for _ in range(n_scenes)])


def _directions(height):
    """Point a unit vector at each pixel center: shape (height, 2 * height, 3)."""
    rows, columns = np.arange(height)[:, None], np.arange(2 * height)
    return to_vectors(*to_sphere(rows, columns, height, 2 * height)).astype(np.float32)


def _scene(vectors, rng):
    latitude = np.arcsin(rng.uniform(-1, 1, N_LEAVES))
    longitude = rng.uniform(-np.pi, np.pi, N_LEAVES)
    radius = draw_radii(N_LEAVES, rng)
    radius[-1] = 4.0  # more than pi: the whole sphere
    leaf = front_leaves(latitude, longitude, radius, len(vectors))
    return paint_leaves(leaf, vectors, to_vectors(np.rad2deg(longitude), np.rad2deg(latitude)), rng)


def paint_leaves(leaf, points, centers, rng, palette=None):
    """Give each leaf its own color, shading and texture.

    Parameters
    ----------
    leaf : ndarray of int, shape (height, width)
        Which leaf is seen at each pixel.
    points : ndarray of float32, shape (height, width, 3)
        Where the pixels lie in space, in the unit of the radii.
    centers : ndarray of shape (n_leaves, 3)
        Where the leaves lie.
    rng : RandomState instance
        Draws the looks of the leaves.
    palette : ndarray of shape (n_colors, 3), default=None
        Colors of which each leaf gets one, RGB in [0, 1]; grays from 0.1 to 0.9 by default. Every channel is then
        moved by 0.07 on average.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The picture.
    """
    n_leaves = len(centers)
    if palette is None:
        base = rng.uniform(0.1, 0.9, (n_leaves, 1))
    else:
        base = palette[rng.randint(len(palette), size=n_leaves)]
    color = base + rng.normal(0, 0.07, (n_leaves, 3))
    shading = rng.normal(0, 0.12, (n_leaves, 3))
    contrast = rng.gamma(0.7, 0.07, n_leaves)
    texture = draw_texture(points, rng)

    # Brightness changes across a leaf as if light fell on it from one side.
    offset = np.einsum("nk,nk->n", shading, centers)
    light = np.einsum("hwk,hwk->hw", points, shading.astype(np.float32)[leaf]) - offset.astype(np.float32)[leaf]
    gray = light + contrast.astype(np.float32)[leaf] * texture
    values = color.astype(np.float32)[leaf] + gray[..., None]
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def draw_radii(n_leaves, rng):
    """Draw radii whose density falls with their third power.

    Parameters
    ----------
    n_leaves : int
        How many.
    rng : RandomState instance
        Draws them.

    Returns
    -------
    ndarray of shape (n_leaves,)
        Radii, in radians or in the shorter sides of a flat picture.
    """
    # The distribution function of r^-3 is linear in r^-2.
    return rng.uniform(LARGEST**-2, SMALLEST**-2, n_leaves) ** -0.5


def front_leaves(latitude, longitude, radius, height):
    """Tell which leaf is seen at each pixel of a panorama.

    Parameters
    ----------
    latitude, longitude : array-like of shape (n_leaves,)
        Centers in radians, the longitude in [-pi, pi].
    radius : array-like of shape (n_leaves,)
        Angular radii in radians; from pi on a leaf is the whole sphere. The first leaf lies in front of all others.
    height : int
        Height of the panorama in pixels.

    Returns
    -------
    ndarray of int, shape (height, 2 * height)
        Index of the foremost leaf over each pixel center, -1 where there is none.

    Examples
    --------
    >>> front_leaves([0.0], [0.0], [0.9], 4)
    array([[-1, -1, -1, -1, -1, -1, -1, -1],
           [-1, -1, -1,  0,  0, -1, -1, -1],
           [-1, -1, -1,  0,  0, -1, -1, -1],
           [-1, -1, -1, -1, -1, -1, -1, -1]])
    """
    latitude, longitude, radius = (np.asarray(values, dtype=float) for values in (latitude, longitude, radius))
    width = 2 * height
    # Rows whose center lies within the radius of a leaf, all leaves after one another.
    first = np.maximum(0, np.ceil(height * (0.5 - (latitude + radius) / np.pi) - 0.5)).astype(int)
    last = np.minimum(height - 1, np.floor(height * (0.5 - (latitude - radius) / np.pi) - 0.5)).astype(int)
    counts = np.maximum(0, last - first + 1)
    leaf = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(leaf)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    # A point at latitude b lies in the leaf up to this difference of longitude (spherical law of cosines).
    b, center = np.pi * (0.5 - (row + 0.5) / height), latitude[leaf]
    cosine = (np.cos(np.minimum(radius[leaf], np.pi)) - np.sin(b) * np.sin(center)) / (np.cos(b) * np.cos(center))
    half = np.where(radius[leaf] >= np.pi, np.pi, np.arccos(np.clip(cosine, -1, 1)))
    middle = width * (longitude[leaf] / (2 * np.pi) + 0.5) - 0.5
    start = np.ceil(middle - half * width / (2 * np.pi)).astype(int)
    stop = np.floor(middle + half * width / (2 * np.pi)).astype(int) + 1
    stop = np.minimum(stop, start + width)

    seen = np.full((height, width), -1)
    # From the rearmost to the foremost. A span that leaves the picture goes on at its other side.
    spans = (values[::-1].tolist() for values in (leaf, row, start, stop))
    for i, r, a, z in zip(*spans, strict=True):
        seen[r, max(a, 0) : z] = i
        if a < 0:
            seen[r, a:] = i
        if z > width:
            seen[r, : z - width] = i
    return seen


def draw_texture(points, rng):
    """Draw fractal noise as a function of place.

    Parameters
    ----------
    points : ndarray of shape (height, width, 3)
        Places in space.
    rng : RandomState instance
        Draws the lattice.

    Returns
    -------
    ndarray of float32, shape (height, width)
        The noise, of mean 0 and a standard deviation of about 1.
    """
    lattice = rng.normal(size=(_LATTICE,) * 3).astype(np.float32)
    total = np.zeros(points.shape[:2], dtype=np.float32)
    for octave in range(_OCTAVES):
        place = np.moveaxis(_COARSEST * 2**octave * points, -1, 0) + rng.uniform(0, _LATTICE, 3)[:, None, None]
        total += map_coordinates(lattice, place.astype(np.float32), order=1, mode="grid-wrap")
    return total
