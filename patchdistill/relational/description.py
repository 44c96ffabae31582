"""A distortion map in words and a few numbers: what changed, which way, how much, and where."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from patchdistill.relational.channels import CELL, CHANNELS
from patchdistill.relational.pooling import STATISTICS, cell_weights, pool_map

# Up to this a cell, or the worst tenth of a picture, passes as unchanged. On photographs, the pre-fitted classical map
# finds a true level of 0.3 beyond it, and what a level of 0.5 of one channel stirs in the others mostly below.
THRESHOLD = 0.2

# The weaker direction is named too if its worst tenth reaches this share of the stronger one's.
_ALSO = 0.5


@dataclass(frozen=True)
class ChannelReport:
    """What a map tells of one channel. Positive numbers: the picture has more of the channel than its reference.

    Attributes
    ----------
    channel : str
        Name of the channel.
    mean : float
        Mean over the picture, in [-1, 1].
    worst_tenth : float
        Mean over the tenth of the picture that changed most in the direction that dominates: of the two directions the
        one in which this mean is larger. Negative if that is "less", 0 if both are equally strong.
    word : str
        The direction, as "blurrier" or "brighter"; both, as "darker and brighter", if the worst tenth of the weaker
        one is at least half that of the stronger one; "unchanged" if neither worst tenth exceeds 0.2. So what
        touches a few hundredths of the picture alone may pass as unchanged; `area` tells of it.
    area : float
        Share of the picture, in [0, 1], whose cells differ from 0 by more than 0.2.
    box : tuple of (int, int, int, int) or None
        Top, left, bottom and right of the worst region in pixels, bottom and right not included: of the connected
        regions of cells beyond 0.2 in one direction, the one where magnitude times area sums to most. Where
        left is not below right, the region of a panorama goes on from the right border at the left one. None if the
        channel is unchanged.
    """

    channel: str
    mean: float
    worst_tenth: float
    word: str
    area: float
    box: tuple | None


def describe_map(D, channel_names, shape, geometry="flat"):
    """Describe each channel of a distortion map.

    The description of the swapped pair has all signs turned and the opposite words; areas and boxes are the same.

    Parameters
    ----------
    D : array-like of shape (n_channels, h, w)
        Map in [-1, 1], one value per cell of 8 x 8 pixels.
    channel_names : sequence of str
        Names of the channels.
    shape : tuple of (int, int)
        Height and width of the picture in pixels.
    geometry : {"flat", "panorama"}, default="flat"
        On a panorama means and areas are those on the sphere, and regions go on across the seam.

    Returns
    -------
    list of ChannelReport
        One per channel, in their order.

    Raises
    ------
    ValueError
        If the map does not fit the names or the picture, holds NaN, or a name or the geometry is unknown.

    See Also
    --------
    patchdistill.plotting.DistortionMapDisplay : Shows the map on the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.description import describe_map
    >>> D = np.zeros((1, 8, 8))
    >>> D[0, 2:4, 4:] = -0.5
    >>> (report,) = describe_map(D, ["sharpness"], (64, 64))
    >>> report.word, round(report.worst_tenth, 2), report.area, report.box
    ('blurrier', -0.5, 0.125, (16, 32, 32, 64))
    """
    D, names = np.asarray(D, dtype=np.float64), list(channel_names)
    weights = cell_weights(*shape, geometry)
    if D.shape != (len(names), *weights.shape):
        raise ValueError(
            f"The map has shape {D.shape}, but {len(names)} channels of a picture of {shape[0]} x {shape[1]} pixels "
            f"(height x width) have a map of shape {(len(names), *weights.shape)}."
        )
    unknown = [name for name in names if name not in CHANNELS]
    if unknown:
        raise ValueError(f"There is no channel {unknown[0]!r}; the names are {', '.join(CHANNELS)}.")
    pooled = pool_map(D, weights)
    return [
        _describe(name, values, numbers, weights, shape, geometry == "panorama")
        for name, values, numbers in zip(names, D, pooled, strict=True)
    ]


def _describe(name, values, pooled, weights, shape, wraps):
    more, less = pooled[:, STATISTICS.index("mean")]
    worst_more, worst_less = pooled[:, STATISTICS.index("worst_tenth")]
    beyond = np.abs(values) > THRESHOLD
    word = _word(CHANNELS[name].words, worst_more, worst_less) if beyond.any() else "unchanged"
    return ChannelReport(
        channel=name,
        mean=float(more - less),
        worst_tenth=float(np.sign(worst_more - worst_less) * max(worst_more, worst_less)),
        word=word,
        area=float(weights[beyond].sum() / weights.sum()),
        box=None if word == "unchanged" else _worst_box(values, weights, shape, wraps),
    )


def _word(words, more, less):
    word_less, word_more = words
    stronger = max(more, less)
    if stronger <= THRESHOLD:
        return "unchanged"
    if min(more, less) > max(THRESHOLD, _ALSO * stronger):
        return f"{word_less} and {word_more}"
    return word_more if more > less else word_less


def _worst_box(values, weights, shape, wraps):
    labels = _regions(values, wraps)
    sums = np.bincount(labels.ravel(), weights=(np.abs(values) * weights).ravel())
    sums[0] = 0  # what lies in no region
    # Of equally bad regions the first one in reading order, whatever its sign.
    worst = labels.flat[np.isin(labels, np.flatnonzero(sums == sums.max())).argmax()]
    rows, columns = (np.flatnonzero((labels == worst).any(axis=axis)) for axis in (1, 0))
    left, right = columns[0], columns[-1] + 1
    if wraps and left == 0 and right == labels.shape[1] and len(columns) < right:
        gap = np.flatnonzero(np.diff(columns) > 1)[0]  # connected, so that there is only one
        left, right = columns[gap + 1], columns[gap] + 1
    top, bottom, left, right = (int(CELL * cell) for cell in (rows[0], rows[-1] + 1, left, right))
    return top, left, min(bottom, shape[0]), min(right, shape[1])


def _regions(values, wraps):
    """Label the regions of connected cells beyond the threshold in one direction; the other cells have label 0."""
    labels, n = ndimage.label(values > THRESHOLD)
    labels_less, n_less = ndimage.label(values < -THRESHOLD)
    labels[labels_less > 0] = labels_less[labels_less > 0] + n
    if not wraps:
        return labels
    first, last = labels[:, 0], labels[:, -1]
    touch = (first > 0) & (last > 0) & (values[:, 0] * values[:, -1] > 0)
    size = n + n_less + 1
    seam = coo_matrix((np.ones(touch.sum()), (first[touch], last[touch])), shape=(size, size))
    return connected_components(seam, directed=False)[1][labels]
