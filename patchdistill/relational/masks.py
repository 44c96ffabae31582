"""Where a picture is distorted: masks in the plane and on the sphere."""

import numpy as np

KINDS = ("full", "field", "box", "half", "ramp")

# How often each is drawn, and how many plane waves make a Gaussian field.
_SHARES = (0.30, 0.40, 0.075, 0.075, 0.15)
_N_WAVES = 12

# Width of the soft edge of a field and of a half, in the units of their positions.
_EDGE = 0.03


def check_masks(masks):
    """Check which masks are drawn.

    Parameters
    ----------
    masks : {"mixed", "full", "field", "box", "half", "ramp"}
        One kind, or all of them in fixed shares.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if masks not in ("mixed", *KINDS):
        raise ValueError(f"masks must be 'mixed' or one of {', '.join(map(repr, KINDS))}; got {masks!r}.")


def draw_kind(masks, rng):
    """Draw a kind of mask: the full frame in 30 % of all cases, a field in 40, box and half in 7.5 each, a ramp in 15.

    Parameters
    ----------
    masks : str
        See :func:`check_masks`.
    rng : Generator
        What draws.

    Returns
    -------
    str
        One of `KINDS`.
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=_SHARES))]
    return kind if masks == "mixed" else masks


def make_mask(kind, height, width, rng, on_sphere=False):
    """Make a mask.

    Parameters
    ----------
    kind : {"full", "field", "box", "half", "ramp"}
        The whole picture; where a Gaussian random field is above a threshold; a rectangle; one side of a line (on the
        sphere: a cap); a slope from one side to the other.
    height, width : int
        Size of the picture in pixels.
    rng : Generator
        Draws the mask; its positions are relative to the size of the picture.
    on_sphere : bool, default=False
        Whether left and right border are neighbors, and shapes are those of an equirectangular picture.

    Returns
    -------
    ndarray of float32, shape (height, width)
        In [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.masks import make_mask
    >>> mask = make_mask("box", 32, 48, np.random.default_rng(0))
    >>> mask.shape, sorted({float(value) for value in mask.ravel()})
    ((32, 48), [0.0, 1.0])
    """
    if kind == "full":
        return np.ones((height, width), dtype=np.float32)
    if kind == "box":
        return _box(height, width, rng, on_sphere)
    places = _sphere(height, width) if on_sphere else _plane(height, width)
    if kind == "field":
        return _field(places, rng)
    direction = rng.standard_normal(places.shape[-1])
    along = places @ (direction / np.linalg.norm(direction)).astype(np.float32)
    if kind == "ramp":
        return (along - along.min()) / max(np.ptp(along), np.finfo(np.float32).tiny)
    return _threshold(along, rng.uniform(0.3, 0.7))


def expand_masks(masks, n_channels, size):
    """Check masks that come as arrays, and give each channel one.

    Parameters
    ----------
    masks : array-like of shape (n_channels, height, width) or (height, width), or None
        In [0, 1]; one for all channels, or one for each; everywhere 1 if None.
    n_channels : int
        Number of channels.
    size : (int, int)
        Height and width.

    Returns
    -------
    ndarray of float32, shape (n_channels, height, width)
        The masks.

    Raises
    ------
    ValueError
        If the shape is another one, or a value is not in [0, 1].
    """
    masks = np.ones(size, dtype=np.float32) if masks is None else np.asarray(masks, dtype=np.float32)
    if masks.shape not in (size, (n_channels, *size)):
        raise ValueError(
            f"masks must have shape {(n_channels, *size)}, or {size} for all channels alike; got {masks.shape}."
        )
    if not (masks.min() >= 0 and masks.max() <= 1):
        raise ValueError(f"Values of masks lie in [0, 1]; got {masks.min():g} to {masks.max():g}.")
    return np.broadcast_to(masks, (n_channels, *size))


def _plane(height, width):
    """Rows and columns of the pixels' centers; the shorter side is 1."""
    unit = min(height, width)
    rows, columns = (np.arange(height) + 0.5) / unit, (np.arange(width) + 0.5) / unit
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).astype(np.float32)


def _sphere(height, width):
    """Point from the center of the sphere to those of the pixels."""
    latitude = np.pi * (0.5 - (np.arange(height) + 0.5) / height)[:, None]
    longitude = 2 * np.pi * ((np.arange(width) + 0.5) / width)[None, :]
    parts = np.broadcast_arrays(
        np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
    )
    return np.stack(parts, axis=-1).astype(np.float32)


def _field(places, rng):
    """Threshold a sum of plane waves, the random Fourier features of a Gaussian kernel."""
    scale = rng.uniform(0.08, 0.3)
    frequency = rng.standard_normal((_N_WAVES, places.shape[-1])).astype(np.float32) / np.float32(scale)
    phase = rng.uniform(0, 2 * np.pi, _N_WAVES).astype(np.float32)
    field = sum(np.cos(places @ w + p) for w, p in zip(frequency, phase, strict=True)) * np.float32(scale)
    return _threshold(field, rng.uniform(0.3, 0.7))


def _threshold(values, share):
    """One where values are above their quantile, with a soft edge."""
    level = np.quantile(values, share)
    return np.clip((values - level) / _EDGE + 0.5, 0, 1).astype(np.float32)


def _box(height, width, rng, on_sphere):
    sides = np.maximum(np.rint(rng.uniform(0.3, 0.8, 2) * (height, width)), 1).astype(int)
    room = np.array([height, width]) - sides + 1
    if on_sphere:
        room[1] = width
    top, left = (rng.random(2) * room).astype(int)
    mask = np.zeros((height, width), dtype=np.float32)
    mask[top : top + sides[0], : sides[1]] = 1
    return np.roll(mask, left, axis=1)
