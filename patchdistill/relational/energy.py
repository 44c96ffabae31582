"""How much changed in each patch: distortion maps as embeddings and scores of patches, and a selection by them."""

import numbers

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator

from patchdistill._compat import HasMethods, StrOptions
from patchdistill._threads import single_blas_thread
from patchdistill.base import BasePatchSelector
from patchdistill.cutting import CutPatches, Pictures
from patchdistill.images import load_image
from patchdistill.ranking import Choice, n_keep, rank
from patchdistill.relational.channels import CELL
from patchdistill.relational.classical import ClassicalRelationalMap
from patchdistill.relational.pooling import SIGNS
from patchdistill.sampling import GridSampler, PatchSampler, StatelessBagMixin, naming_image

_ENERGY = "energy"


def patch_energies(distortion_map, top, left, patch_size, *, width=None):
    r"""Average a distortion map over patches, each channel and direction for itself.

    Of the pixels :math:`x` of a patch, each of which has the value of its cell of 8 x 8 pixels, these are the means of
    :math:`\max(D_k(x), 0)` and :math:`\max(-D_k(x), 0)`. Their sum over channels and directions, the mean of
    :math:`\sum_k |D_k(x)|`, is the energy of the patch.

    Parameters
    ----------
    distortion_map : array-like of shape (n_channels, h, w)
        Signed distortions, in [-1, 1].
    top, left : array-like of int, shape (n_patches,)
        Upper left pixel of each patch.
    patch_size : int
        Side of a patch in pixels.
    width : int, default=None
        Width in pixels of a panorama, across whose seam patches may go on. None on flat pictures.

    Returns
    -------
    ndarray of float64, shape (n_patches, n_channels, 2)
        Mean of what the patch has more of than its reference, and of what it has less of; in [0, 1].

    Raises
    ------
    ValueError
        If the map has another number of axes or holds NaN, or a patch reaches beyond it.

    See Also
    --------
    MapEnergy : The same for many pictures and their references.
    patchdistill.relational.pooling.pool_map : Over the whole picture.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.energy import patch_energies
    >>> sharpness = np.array([[[0.0, -0.5], [0.0, 0.0]]])
    >>> patch_energies(sharpness, top=[0, 0, 4], left=[0, 8, 4], patch_size=8)[:, 0]
    array([[0.   , 0.   ],
           [0.   , 0.5  ],
           [0.   , 0.125]])
    """
    values = np.asarray(distortion_map, dtype=np.float64)
    if values.ndim != 3:
        raise ValueError(f"The map has shape {values.shape}, but (n_channels, h, w) is expected.")
    if not np.isfinite(values).all():
        raise ValueError("The map holds NaN or infinity; check what predicted it.")
    top, left = _check_places(top, left, patch_size, values.shape[1:], width)
    rows, columns = _shares(top, patch_size, values.shape[1]), _shares(left, patch_size, values.shape[2], width)
    sides = np.stack([np.maximum(values, 0), np.maximum(-values, 0)], axis=1)
    with single_blas_thread():
        return np.einsum("nksw,nw->nks", np.tensordot(rows, sides, axes=(1, 2)), columns)


def _check_places(top, left, patch_size, cells, width):
    top, left = np.atleast_1d(top), np.atleast_1d(left)
    if top.ndim != 1 or top.shape != left.shape or not top.size or not {top.dtype.kind, left.dtype.kind} <= {"i", "u"}:
        raise ValueError(
            "top and left must be 1-D arrays of int, equally long and not empty; got shapes "
            f"{top.shape} and {left.shape} of {top.dtype} and {left.dtype}."
        )
    if not isinstance(patch_size, numbers.Integral) or patch_size < 1:
        raise ValueError(f"patch_size must be an int of at least 1; got {patch_size!r}.")
    height, across = (CELL * n for n in cells)
    if width is not None and not across - CELL < width <= across:
        raise ValueError(
            f"width={width} does not fit to a map of {cells[1]} columns of {CELL} pixels; give that of the picture."
        )
    last_top, last_left = height - patch_size, across - patch_size if width is None else width - 1
    spare = (across if width is None else width) - patch_size
    if min(top.min(), left.min(), last_top - top.max(), last_left - left.max(), spare) < 0:
        raise ValueError(
            f"Patches of {patch_size} x {patch_size} pixels reach beyond the map of {height} x {across} pixels (height "
            f"x width): top runs from {top.min()} to {top.max()}, left from {left.min()} to {left.max()}. "
            "Give the places of the patches on the picture that was mapped."
        )
    return top.astype(np.intp), left.astype(np.intp)


def _shares(start, patch_size, n_cells, width=None):
    """Share of each patch that lies in each cell along one axis, (n_patches, n_cells); around the seam with a width."""
    first = CELL * np.arange(n_cells)
    last = first + CELL if width is None else np.minimum(first + CELL, width)
    start = start[:, None]

    def overlap(turn):
        return np.clip(np.minimum(start + patch_size, last + turn) - np.maximum(start, first + turn), 0, None)

    return (overlap(0) if width is None else overlap(0) + overlap(width)) / patch_size


class MapEnergy(StatelessBagMixin, BaseEstimator):
    """Embed patches by what changed in them against a reference, and score them by how much.

    A sample is a pair: a picture and its reference. A pair stays together through splits, shuffles and searches, and
    pairs of paths are opened one at a time.

    Crops share one map, that of the whole picture; that of a panorama goes on across its seam. Of tangent views each
    has a map of its own: what changed as it is seen there.

    Parameters
    ----------
    map : estimator, default=None
        What predicts distortion maps: has ``channel_names_`` and ``predict_map(a, ref, geometry)``. By default the
        pre-fitted :class:`ClassicalRelationalMap`.
    sampler : PatchSampler, default=None
        Places the patches, on both pictures of a pair alike: :class:`~patchdistill.sampling.GridSampler` by default,
        or one of :mod:`!patchdistill.panorama`, of tangent views of at least 32 pixels.
    n_jobs : int, default=None
        Pairs worked on at the same time; see joblib. Has no influence on the result.

    See Also
    --------
    patchdistill.relational.energy.patch_energies : One map, patches anywhere.
    MapEnergySelector : Keeps the patches in which most changed.
    patchdistill.ResidualPatchSelector : With ``normalize=None``, keeps patches that represent what changed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from patchdistill.datasets import dead_leaves
    >>> from patchdistill.relational import MapEnergy, MapEnergySelector
    >>> from patchdistill.sampling import GridSampler
    >>> reference = dead_leaves(96)
    >>> darker = reference.copy()
    >>> darker[:48] //= 2  # the upper half
    >>> energies = MapEnergy(sampler=GridSampler(n_patches=9, patch_size=32))
    >>> kept = make_pipeline(energies, MapEnergySelector(rate=3)).fit_transform([(darker, reference)])
    >>> kept.field("top", 0)
    array([0, 0, 0])
    >>> sorted(kept.fields)
    ['energy', 'left', 'patch_index', 'pixels', 'reference_pixels', 'size', 'top', 'weights']
    """

    _parameter_constraints = {
        "map": [None, HasMethods("predict_map")],
        "sampler": [None, PatchSampler],
        "n_jobs": [numbers.Integral, None],
    }

    def __init__(self, map=None, sampler=None, *, n_jobs=None):
        self.map = map
        self.sampler = sampler
        self.n_jobs = n_jobs

    def transform(self, X):
        """Map every pair, and average the maps over the patches.

        Parameters
        ----------
        X : list of (picture, reference)
            Each an array-like of shape (height, width, 3), uint8 or float in [0, 1], or a path. An array of pairs,
            (n_images, 2) of paths for example, will do as well.

        Returns
        -------
        PatchBags
            Energies (n_patches_total, 2 * n_channels), see
            :func:`~patchdistill.relational.energy.patch_energies`; the columns are named by
            :meth:`get_feature_names_out`. Beside the fields of the sampler there are ``energy``, their sum, and
            ``pixels`` and ``reference_pixels``, the patches of the picture and of its reference, which are read when
            they are asked for. The ids are those of the pictures.

        Raises
        ------
        ValueError
            If `X` holds no pairs, the pictures of a pair differ in size or cannot be read, or the sampler or the map
            refuses them.
        """
        self._validate_params()
        images, references = _check_pairs(X)
        sampler = GridSampler() if self.sampler is None else self.sampler
        bags = sampler.transform(images)
        of_references = _cut_references(sampler, bags, _open_references(images, references))
        bags = bags.with_values(bags.values, reference_pixels=of_references)
        predict_map = self._map().predict_map
        energies = Parallel(n_jobs=self.n_jobs)(
            delayed(_energies)(predict_map, *pair, bags[[index]], index)
            for index, pair in enumerate(zip(images, references, strict=True))
        )
        energies = np.concatenate(energies)
        return bags.with_values(energies, energy=energies.sum(axis=1), pixels=bags.values)

    def get_feature_names_out(self, input_features=None):
        """Names of the energies.

        Parameters
        ----------
        input_features : object, default=None
            Not read: the input is pictures.

        Returns
        -------
        ndarray of str, shape (2 * n_channels,)
            Names such as ``sharpness_less``.
        """
        return np.array([f"{name}_{sign}" for name in self._map().channel_names_ for sign in SIGNS], dtype=object)

    def _map(self):
        return ClassicalRelationalMap.pretrained() if self.map is None else self.map


def _check_pairs(X):
    """Pictures and references of a list of pairs."""
    pairs = list(X)
    if not pairs:
        raise ValueError("There are no pairs; give a list with at least one (picture, reference).")
    for index, pair in enumerate(pairs):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(
                f"Image {index} is {_describe(pair)}, but a (picture, reference) pair is expected; pass "
                "list(zip(pictures, references))."
            )
    return tuple(map(list, zip(*pairs, strict=True)))


def _describe(item):
    if hasattr(item, "shape"):
        return f"an array of shape {item.shape}"
    return f"a {type(item).__name__} of {len(item)}" if isinstance(item, (list, tuple)) else repr(item)


def _open_references(images, references):
    """Open references, of the sizes of their pictures; of files, the headers alone are read."""
    references = Pictures.open(references)
    for index, picture in enumerate(Pictures.open(images)):
        (height, width, _), (other_height, other_width, _) = picture.shape, references[index].shape
        if (height, width) != (other_height, other_width):
            raise ValueError(
                f"Image {index} has {height} x {width} pixels (height x width), but its reference {other_height} x "
                f"{other_width}; pass two versions of one picture, of one size."
            )
    return references


def _cut_references(sampler, bags, references):
    """Patches of the references at the places of those of the pictures."""
    cut, coordinates = sampler._cutting()
    picture = np.repeat(np.arange(len(bags)), bags.n_patches)
    places = np.stack([bags.fields[name] for name in coordinates], axis=1)
    return CutPatches(references, picture, places, cut, sampler.patch_size)


def _energies(predict_map, image, reference, bag, index):
    """Energies of the patches of one pair as rows; `bag` has its patches alone."""
    with naming_image(index):
        if "top" in bag.fields:
            image, reference = load_image(image, 0), load_image(reference, 0)
            is_panorama = "lon" in bag.fields
            change = predict_map(image, reference, "panorama" if is_panorama else "flat")
            places = (bag.fields["top"], bag.fields["left"], bag.values.shape[1])
            energies = patch_energies(change, *places, width=image.shape[1] if is_panorama else None)
        else:
            views = zip(bag[0], bag.field("reference_pixels", 0), strict=True)
            maps = [predict_map(view, other, "flat") for view, other in views]
            side = bag.values.shape[1]
            energies = np.concatenate([patch_energies(change, [0], [0], side) for change in maps])
    return energies.reshape(len(energies), -1)


class MapEnergySelector(BasePatchSelector):
    """Keep the patches in which most changed against the reference.

    Patches are ranked by their field ``energy``, which :class:`MapEnergy` gives them. Their values are not looked at,
    and may be what another transformer has made of them: pixels, the activations of a network.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    keep : {"high", "low"}, default="high"
        Whether the patches are kept in which most changed, or least.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Equal.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches, the first to keep first; equal ones go by index.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    MapEnergy : Computes the energies.
    patchdistill.ResidualPatchSelector : Keeps patches that represent the others.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import PatchBags
    >>> from patchdistill.relational import MapEnergySelector
    >>> bags = PatchBags(np.eye(4), [0, 4], fields={"energy": [0.1, 0.3, 0.0, 0.2]})
    >>> MapEnergySelector(rate=0.5).fit(bags).selected_idx_
    [array([1, 3])]
    """

    _parameter_constraints = {"rate": "no_validation", "keep": [StrOptions({"high", "low"})]}
    _takes_pixels = True

    def __init__(self, rate=0.45, *, keep="high"):
        self.rate = rate
        self.keep = keep

    def _choose(self, bags):
        if _ENERGY not in bags.fields:
            raise ValueError(
                f"The patches have no field {_ENERGY!r} to be ranked by, only {sorted(bags.fields)}. Begin the "
                "pipeline with MapEnergy()."
            )
        counts = enumerate(bags.n_patches.tolist())
        return [Choice(rank(bags.field(_ENERGY, i), self.keep), n_keep(n, self.rate)) for i, n in counts], {}
