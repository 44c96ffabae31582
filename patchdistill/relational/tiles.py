"""Maps of pictures of any size, tile by tile, so that memory does not grow with them."""

import numpy as np
from joblib import Parallel, delayed

from patchdistill.evaluation.full_reference import check_pair as check_versions
from patchdistill.relational.channels import CELL

SMALLEST = 32
GEOMETRIES = ("flat", "panorama")

# Cells along the side of a tile, without what is seen around it.
_TILE = 128


def check_pair(a, ref, geometry="flat"):
    """Check two versions of a picture.

    Parameters
    ----------
    a, ref : array-like of shape (height, width, 3)
        The picture and its reference: uint8 in [0, 255], or float in [0, 1].
    geometry : {"flat", "panorama"}, default="flat"
        Whether left and right border are neighbors.

    Returns
    -------
    a, ref : ndarray
        The two, neither copied nor converted.

    Raises
    ------
    ValueError
        If one of the two is no color picture (in the message, image 0 is the reference), their sizes differ, they have
        less than 32 pixels along a side, or there is no such geometry.
    """
    if geometry not in GEOMETRIES:
        raise ValueError(f"geometry must be 'flat' or 'panorama'; got {geometry!r}.")
    ref, a = check_versions(ref, a, SMALLEST)
    return a, ref


def map_tiles(predict, a, ref, geometry="flat", halo=16, n_jobs=None):
    """Predict a map tile by tile.

    Parameters
    ----------
    predict : callable
        Called with two float32 arrays of shape (3, rows, columns), sides being multiples of 8; gives a map of shape
        (n_channels, rows / 8, columns / 8).
    a, ref : ndarray of shape (height, width, 3)
        The picture and its reference.
    geometry : {"flat", "panorama"}, default="flat"
        Whether what is at the right border lies beyond the left one.
    halo : int, default=16
        How far a cell sees, in cells.
    n_jobs : int, default=None
        Tiles worked on at the same time; see joblib.

    Returns
    -------
    ndarray of float32, shape (n_channels, ceil(height / 8), ceil(width / 8))
        The map.
    """
    n_rows, n_columns = (-(-side // CELL) for side in a.shape[:2])
    boxes = [
        (top, min(top + _TILE, n_rows), left, min(left + _TILE, n_columns))
        for top in range(0, n_rows, _TILE)
        for left in range(0, n_columns, _TILE)
    ]
    parts = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_predict_box)(predict, a, ref, box, halo, geometry) for box in boxes
    )
    result = np.empty((len(parts[0]), n_rows, n_columns), dtype=np.float32)
    for (top, bottom, left, right), part in zip(boxes, parts, strict=True):
        result[:, top:bottom, left:right] = part
    return result


def _predict_box(predict, a, ref, box, halo, geometry):
    """Predict a box of cells from what lies in and around it; what lies beyond a border is the predictor's business."""
    top, bottom, left, right = box
    n_rows, n_columns = (-(-side // CELL) for side in a.shape[:2])
    first_row, last_row = max(top - halo, 0), min(bottom + halo, n_rows)
    rows = _mirror(np.arange(CELL * first_row, CELL * last_row), a.shape[0])
    if geometry == "panorama":
        first_column, last_column = left - halo, right + halo
        columns = np.arange(CELL * first_column, CELL * last_column) % a.shape[1]
    else:
        first_column, last_column = max(left - halo, 0), min(right + halo, n_columns)
        columns = _mirror(np.arange(CELL * first_column, CELL * last_column), a.shape[1])
    tile = predict(_cut(a, rows, columns), _cut(ref, rows, columns))
    return tile[:, top - first_row : bottom - first_row, left - first_column : right - first_column]


def _mirror(places, n):
    """Fill the last cells: places beyond a border are those before it, with the border pixel twice."""
    places = places % (2 * n)
    return np.minimum(places, 2 * n - 1 - places)


def _cut(picture, rows, columns):
    tile = picture[np.ix_(rows, columns)].transpose(2, 0, 1).astype(np.float32)
    return tile / np.float32(255) if picture.dtype == np.uint8 else tile
