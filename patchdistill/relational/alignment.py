"""Whether two pictures lie on each other, or one of them is shifted."""

import numpy as np
from scipy import fft
from scipy.signal.windows import hann

from patchdistill._compat import import_optional
from patchdistill.images import LUMA

# A shift is searched in the whole picture, shrunk to this many pixels, then to the pixel in windows of this side.
_COARSE, _SIDE = 512, 256
# Windows in either direction; what they say is averaged, so that a coherence can be told from chance.
_N_WINDOWS = 3
# A peak of the correlation counts if it stands out of the rest by this many standard deviations, and if what the
# correlation is without a shift is less than this share of it. On photographs, true shifts stand out by 16 and more,
# two pictures of noise by less than 8. A blur flattens the peak: under it, shifts of one pixel are not told.
_OUTSTANDING, _CLEAR = 10.0, 0.6


def find_shift(image, reference, geometry="flat"):
    """Find the shift between two versions of a picture.

    The shift is the peak of the phase correlation [1]_ of the lumas, first of the whole pictures, shrunk, then of nine
    windows in full resolution. Frequencies count by their coherence over the windows (the smoothed coherence
    transform [2]_), so that changes of tone, blur, noise and compression leave the peak where it is. A shift is only
    given if the correlation of the pixels also gets larger by it.

    Parameters
    ----------
    image, reference : ndarray of uint8, shape (height, width, 3)
        The pictures, of one size.
    geometry : {"flat", "panorama"}, default="flat"
        On a panorama, what leaves at the right border comes back at the left one.

    Returns
    -------
    down, right : int
        How far `image` is shifted against `reference`, in pixels; 0, 0 if they lie on each other, or have too little
        in common to tell.

    References
    ----------
    .. [1] C. D. Kuglin, D. C. Hines, "The Phase Correlation Image Alignment Method", IEEE Conference on Cybernetics
       and Society, 1975.
    .. [2] C. H. Knapp, G. C. Carter, "The Generalized Correlation Method for Estimation of Time Delay", IEEE
       Transactions on Acoustics, Speech, and Signal Processing 24(4), 1976.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.datasets import dead_leaves
    >>> from patchdistill.relational.alignment import find_shift
    >>> picture = dead_leaves(128)
    >>> find_shift(picture[:-2, 5:], picture[2:, :-5])
    (2, -5)
    """
    wraps = geometry == "panorama"
    start = _coarse_shift(image, reference, wraps)
    found = _correlate(image, reference, start, wraps)
    shift = start[0] + found.shift[0], start[1] + found.shift[1]
    if wraps:
        width = reference.shape[1]
        shift = shift[0], (shift[1] + width // 2) % width - width // 2
    if shift == (0, 0) or found.outstanding < _OUTSTANDING:
        return 0, 0
    there, here = (_correlate(image, reference, at, wraps) for at in (shift, (0, 0)))
    is_clear = here.coherence < _CLEAR * there.coherence
    return shift if is_clear and there.correlation > here.correlation else (0, 0)


class _Correlation:
    """Correlation of two pictures, one of them shifted by hand, over windows."""

    def __init__(self, cross, power, reference_power, shape):
        both = np.sqrt(power * reference_power)
        energy = np.sqrt(power.mean() * reference_power.mean())
        if energy < 1.0:  # nothing but rounding errors
            self.shift, self.outstanding, self.coherence, self.correlation = (0, 0), 0.0, 0.0, 0.0
            return
        coherence = fft.irfft2(cross / (both + 1e-3 * energy), s=shape)
        pixels = fft.irfft2(cross, s=shape)
        peak = _climb(pixels, np.unravel_index(coherence.argmax(), shape))
        self.shift = tuple(int(i - n if 2 * i > n else i) for i, n in zip(peak, shape, strict=True))
        self.outstanding = coherence.max() / coherence.std()
        self.coherence, self.correlation = coherence[0, 0], pixels[0, 0] / fft.irfft2(both, s=shape)[0, 0]


def _climb(surface, place):
    """Go uphill on a surface without borders: under a box blur the coherence peaks where the box ends."""
    offsets = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij")).reshape(2, -1)
    while True:
        rows, columns = (offsets + np.array(place)[:, None]) % np.array(surface.shape)[:, None]
        best = surface[rows, columns].argmax()
        if surface[rows[best], columns[best]] <= surface[place]:
            return place
        place = rows[best], columns[best]


def _coarse_shift(image, reference, wraps):
    Image = import_optional("PIL.Image", "find_shift", "cli")
    factor = -(-max(reference.shape[:2]) // _COARSE)
    if factor == 1:
        small = image, reference
    else:
        small = [np.asarray(Image.fromarray(pixels).reduce(factor)) for pixels in (image, reference)]
    found = _correlate(*small, (0, 0), wraps, side=_COARSE)
    return (0, 0) if found.outstanding < _OUTSTANDING else tuple(factor * step for step in found.shift)


def _correlate(image, reference, shift, wraps, side=_SIDE):
    """Correlate windows of the reference with those of the image, which lie `shift` further down and to the right."""
    (height, width), (down, right) = reference.shape[:2], shift
    rows = min(side, height - abs(down))
    columns = min(side, width if wraps else width - abs(right))
    soft = np.outer(hann(rows + 2)[1:-1], hann(columns + 2)[1:-1])
    soft = soft.astype(np.float32) / soft.sum()
    sums = 0.0, 0.0, 0.0
    for top in _starts(max(0, -down), height - max(0, down) - rows):
        for left in _starts(0, width - columns) if wraps else _starts(max(0, -right), width - max(0, right) - columns):
            ours = _spectrum(reference, top, left, soft)
            theirs = _spectrum(image, top + down, left + right, soft)
            terms = theirs * ours.conj(), np.abs(theirs) ** 2, np.abs(ours) ** 2
            sums = tuple(total + term for total, term in zip(sums, terms, strict=True))
    return _Correlation(*sums, soft.shape)


def _starts(first, last):
    return np.unique(np.linspace(first, last, _N_WINDOWS).round().astype(int))


def _spectrum(pixels, top, left, soft):
    rows, columns = soft.shape
    window = np.take(pixels[top : top + rows], np.arange(left, left + columns), axis=1, mode="wrap")
    luma = window @ np.array(LUMA, dtype=np.float32)
    return fft.rfft2((luma - (luma * soft).sum()) * soft * soft.size)
