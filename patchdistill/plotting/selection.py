"""Which patches of an image were kept, and with which score."""

import numpy as np

from patchdistill._compat import import_optional
from patchdistill.images import load_image
from patchdistill.plotting.places import NO_PATCH, Crops, Views

# Pixels under no patch: neither kept nor dropped, so neither clear nor dark.
_UNSAMPLED_GRAY = 0.5


class _BaseSelectionDisplay:
    """Drawing; subclasses give ``image``, ``selection``, and the places of the patches by ``_places(shape)``."""

    def plot(self, ax=None, *, veil=0.72, cmap="viridis", colorbar=True, legend=True):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        veil : float, default=0.72
            How dark dropped patches are, from 0, not at all, to 1, black.
        cmap : str or matplotlib Colormap, default="viridis"
            Colors of the scores. The default can be told apart by color-blind readers and in gray.
        colorbar, legend : bool, default=True
            Whether to draw the scale of the scores, and the meaning of clear and dark tiles.

        Returns
        -------
        self
            This display.

        Raises
        ------
        ValueError
            If the places, the scores and the image do not fit each other.
        ImportError
            If matplotlib is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", type(self).__name__, "viz")
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Circle, Patch

        image = load_image(self.image, 0)
        height, width = shape = image.shape[:2]
        places = self._places(shape)
        scores = np.asarray(self.selection.scores)
        kept = np.zeros(len(scores), dtype=bool)
        kept[self.selection.indices] = True
        self.tiles_ = places.tiles(shape)
        covered = self.tiles_ != NO_PATCH
        clear = kept[self.tiles_] & covered

        if ax is None:
            _, ax = pyplot.subplots(figsize=(9, 8 * height / width + 0.8), layout="constrained")
        ax.imshow(image)
        ax.imshow(_veil(covered, clear, veil))
        if clear.any() and not clear.all():
            # A rim of dropped pixels closes the outlines of tiles at the border of the image.
            rows, columns = np.arange(-1, height + 1), np.arange(-1, width + 1)
            ax.contour(columns, rows, np.pad(clear, 1), levels=[0.5], colors="white", linewidths=0.8)
        radius = 0.12 * np.sqrt(covered.sum() / len(scores))
        dots = PatchCollection(
            [Circle(center, radius) for center in places.centers(shape)], cmap=cmap, edgecolor="white", linewidth=0.3
        )
        dots.set_array(scores)
        ax.add_collection(dots)
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
        ax.set_title(f"{kept.sum()} of {len(kept)} patches kept")
        if colorbar:
            bar = ax.figure.colorbar(dots, cax=ax.inset_axes([1.01, 0, 0.018, 1]))
            bar.set_label("relative residual (dots)")
            bar.outline.set_linewidth(0.5)
        if legend:
            dark = 0.55 * (1 - veil)
            entries = {"kept": "white", "dropped": str(dark)}
            if not covered.all():
                entries["in no patch"] = str(_UNSAMPLED_GRAY)
            handles = [Patch(facecolor=color, edgecolor="black", label=name) for name, color in entries.items()]
            ax.legend(
                handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=len(handles), frameon=False
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self


class SelectionDisplay(_BaseSelectionDisplay):
    """Show kept and dropped patches on the image they come from.

    Patches overlap, and outlines of 180 of them cannot be read. So every pixel is given to the patch whose center is
    nearest among those that cover it; the tiles of dropped patches are darkened, those of kept ones stay clear and are
    outlined. A dot in the middle of each patch tells its score.

    Make it with :meth:`from_selection`; all arguments are stored as attributes.

    Parameters
    ----------
    image : array-like of shape (height, width, 3), or path
        The image: uint8 in [0, 255], or float in [0, 1].
    top, left : array-like of int, shape (n_patches,)
        Upper left pixel of each patch, before any selection.
    patch_size : int
        Side of a patch in pixels.
    selection : PatchSelection
        Which patches were kept and with which scores, as :func:`patchdistill.select_patches` gives it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that was drawn on.
    figure_ : matplotlib Figure
        Figure of `ax_`.
    tiles_ : ndarray of int, shape (height, width)
        The patch that each pixel stands for, -1 where there is none.

    See Also
    --------
    PanoramaSelectionDisplay : For panoramas, whose patches cross the seam or are views.
    patchdistill.select_patches : Gives the selection of one image.

    Examples
    --------
    >>> from sklearn.datasets import load_sample_image
    >>> from patchdistill import select_patches
    >>> from patchdistill.embedding import PatchStatistics
    >>> from patchdistill.plotting import SelectionDisplay
    >>> image = load_sample_image("china.jpg")
    >>> patches = PatchStatistics(n_patches=180, patch_size=64).transform([image])
    >>> selection = select_patches(patches[0])
    >>> display = SelectionDisplay.from_selection(image, patches, selection)
    >>> display.ax_.get_title()
    '81 of 180 patches kept'
    """

    def __init__(self, image, top, left, patch_size, selection):
        self.image = image
        self.top = top
        self.left = left
        self.patch_size = patch_size
        self.selection = selection

    @classmethod
    def from_selection(cls, image, patches, selection, *, ax=None, **options):
        """Draw the selection of one image.

        Parameters
        ----------
        image : array-like of shape (height, width, 3), or path
            The image.
        patches : PatchBags of one image
            All patches of the image, before the selection, with the fields ``top``, ``left`` and ``size``: what
            :class:`~patchdistill.sampling.GridSampler` and :class:`~patchdistill.embedding.PatchStatistics` give. Of
            many images take one with ``bags[[i]]``.
        selection : PatchSelection
            What :func:`patchdistill.select_patches` gave for these patches.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **options
            Passed to :meth:`plot`.

        Returns
        -------
        SelectionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `patches` is not one image with places, or its number of patches is not that of `selection`.
        ImportError
            If matplotlib is not installed.
        """
        _check_one_image(patches)
        missing = sorted(set(Crops.fields) - set(patches.fields))
        if missing:
            raise ValueError(
                f"patches has no field {missing[0]!r}, only {sorted(patches.fields)}; without places nothing can be "
                "drawn. Take patches from GridSampler or PatchStatistics on images, call SelectionDisplay itself, or "
                "use PanoramaSelectionDisplay for views of a panorama."
            )
        top, left, size = (patches.field(name, 0) for name in Crops.fields)
        return cls(image, top, left, int(size[0]), selection).plot(ax, **options)

    def _places(self, shape):
        top, left = np.asarray(self.top), np.asarray(self.left)
        _check_lengths({"top": top, "left": left}, self.selection)
        height, width = shape
        if min(top.min(), left.min()) < 0 or max(top.max() - height, left.max() - width) + self.patch_size > 0:
            raise ValueError(
                f"Patches of {self.patch_size} pixels at top {top.min()} to {top.max()} and left {left.min()} to "
                f"{left.max()} reach beyond the image of {height} x {width} pixels (height x width). "
                "Pass the image and the patch_size that the patches were cut with, or use PanoramaSelectionDisplay "
                "where the right border goes on at the left one."
            )
        return Crops(top, left, np.full(len(top), self.patch_size))


class PanoramaSelectionDisplay(_BaseSelectionDisplay):
    """Show kept and dropped patches on the equirectangular panorama they come from.

    The picture is that of :class:`SelectionDisplay`. Patches are crops that go on at the left border where they reach
    beyond the right one, or tangent (gnomonic) views. Of views, the one whose center is nearest in angle is shown.

    Make it with :meth:`from_selection`; all arguments are stored as attributes.

    Parameters
    ----------
    image : array-like of shape (height, width, 3), or path
        The panorama: uint8 in [0, 255], or float in [0, 1].
    places : dict of str to array-like of shape (n_patches,)
        Where the patches are, before any selection: ``top``, ``left`` and ``size`` of crops in pixels, or ``lon``,
        ``lat`` and ``fov`` of views in degrees (0 is the center column and grows to the right, 0 is the equator and
        grows upwards). If all are there, the patches are crops.
    selection : PatchSelection
        Which patches were kept and with which scores, as :func:`patchdistill.select_patches` gives it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that was drawn on.
    figure_ : matplotlib Figure
        Figure of `ax_`.
    tiles_ : ndarray of int, shape (height, width)
        The patch that each pixel stands for, -1 where there is none.

    See Also
    --------
    SelectionDisplay : For flat pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import select_patches
    >>> from patchdistill.plotting import PanoramaSelectionDisplay
    >>> rng = np.random.default_rng(0)
    >>> places = {"lon": rng.uniform(-180, 180, 40), "lat": rng.uniform(-60, 60, 40), "fov": np.full(40, 45.0)}
    >>> selection = select_patches(rng.normal(size=(40, 5)), rate=0.25)
    >>> display = PanoramaSelectionDisplay(rng.random((64, 128, 3)), places, selection).plot()
    >>> display.ax_.get_title()
    '10 of 40 patches kept'
    """

    def __init__(self, image, places, selection):
        self.image = image
        self.places = places
        self.selection = selection

    @classmethod
    def from_selection(cls, image, patches, selection, *, ax=None, **options):
        """Draw the selection of one panorama.

        Parameters
        ----------
        image : array-like of shape (height, width, 3), or path
            The panorama.
        patches : PatchBags of one image
            All patches of the panorama, before the selection, with the fields ``top``, ``left`` and ``size``, or
            ``lon``, ``lat`` and ``fov``. Of many images take one with ``bags[[i]]``.
        selection : PatchSelection
            What :func:`patchdistill.select_patches` gave for these patches.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **options
            Passed to :meth:`plot`.

        Returns
        -------
        PanoramaSelectionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `patches` is not one image with places, or its number of patches is not that of `selection`.
        ImportError
            If matplotlib is not installed.
        """
        _check_one_image(patches)
        return cls(image, {name: patches.field(name, 0) for name in patches.fields}, selection).plot(ax, **options)

    def _places(self, shape):
        kind = next((kind for kind in (Crops, Views) if set(kind.fields) <= set(self.places)), None)
        if kind is None:
            raise ValueError(
                f"There are the fields {sorted(self.places)}, but places need top, left and size of crops, or lon, lat "
                "and fov of views; take patches from a sampler of patchdistill.panorama."
            )
        given = {name: self.places[name] for name in kind.fields}
        _check_lengths(given, self.selection)
        places = kind(**given)
        legal, rule = places.legal(shape)
        if not legal.all():
            i = legal.argmin()
            got = ", ".join(f"{name}={values[i]}" for name, values in given.items())
            raise ValueError(
                f"Patch {i} with {got} is not on the panorama of {shape[0]} x {shape[1]} pixels (height x width): "
                f"{rule}."
            )
        return places


def _check_one_image(patches):
    if len(patches) != 1:
        raise ValueError(f"patches holds {len(patches)} images, but one is drawn; pass patches[[i]] for image i.")


def _check_lengths(places, selection):
    lengths = {name: len(values) for name, values in places.items()}
    if set(lengths.values()) != {len(selection.scores)}:
        got = ", ".join(f"{length} values of {name}" for name, length in lengths.items())
        raise ValueError(
            f"There are {got}, but the selection has scores of {len(selection.scores)} patches; pass the patches as "
            "they were before the selection."
        )


def _veil(covered, clear, strength):
    """Overlay (height, width, 4): transparent on clear pixels, dark on dropped ones, gray where there is no patch."""
    overlay = np.zeros((*covered.shape, 4), dtype=np.float32)
    overlay[..., 3] = np.where(clear, 0.0, strength)
    overlay[~covered, :3] = _UNSAMPLED_GRAY
    overlay[~covered, 3] = max(strength, 0.85)
    return overlay
