"""Pictures: which patches of an image were kept, with which score, and what pipelines cost."""

import numpy as np

from patchdistill._compat import import_optional
from patchdistill.images import load_image

# Pixels under no patch: neither kept nor dropped, so neither clear nor dark.
_UNSAMPLED_GRAY = 0.5


class SelectionDisplay:
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
        if len(patches) != 1:
            raise ValueError(f"patches holds {len(patches)} images, but one is drawn; pass patches[[i]] for image i.")
        missing = sorted({"top", "left", "size"} - set(patches.fields))
        if missing:
            raise ValueError(
                f"patches has no field {missing[0]!r}, only {sorted(patches.fields)}; without places nothing can be "
                "drawn. Take patches from GridSampler or PatchStatistics on images, or call SelectionDisplay itself."
            )
        top, left, size = (patches.field(name, 0) for name in ("top", "left", "size"))
        display = cls(image, top, left, int(size[0]), selection)
        return display.plot(ax, **options)

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
        SelectionDisplay
            This display.

        Raises
        ------
        ValueError
            If the places, the scores and the image do not fit each other.
        ImportError
            If matplotlib is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", "SelectionDisplay", "viz")
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Circle, Patch

        image = load_image(self.image, 0)
        top, left, scores = np.asarray(self.top), np.asarray(self.left), np.asarray(self.selection.scores)
        self._check(image.shape[:2], top, left, scores)
        kept = np.zeros(len(scores), dtype=bool)
        kept[self.selection.indices] = True
        self.tiles_ = _nearest_patch(image.shape[:2], top, left, self.patch_size)
        clear = kept[self.tiles_] & (self.tiles_ >= 0)

        if ax is None:
            height, width = image.shape[:2]
            _, ax = pyplot.subplots(figsize=(9, 8 * height / width + 0.8), layout="constrained")
        ax.imshow(image)
        ax.imshow(_veil(self.tiles_, clear, veil))
        if clear.any() and not clear.all():
            # A rim of dropped pixels closes the outlines of tiles at the border of the image.
            rows, columns = np.arange(-1, image.shape[0] + 1), np.arange(-1, image.shape[1] + 1)
            ax.contour(columns, rows, np.pad(clear, 1), levels=[0.5], colors="white", linewidths=0.8)
        radius = 0.12 * np.sqrt((self.tiles_ >= 0).sum() / len(scores))
        centers = np.column_stack([left, top]) + (self.patch_size - 1) / 2
        dots = PatchCollection(
            [Circle(center, radius) for center in centers], cmap=cmap, edgecolor="white", linewidth=0.3
        )
        dots.set_array(scores)
        ax.add_collection(dots)
        ax.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5), xticks=[], yticks=[])
        ax.set_title(f"{kept.sum()} of {len(kept)} patches kept")
        if colorbar:
            bar = ax.figure.colorbar(dots, cax=ax.inset_axes([1.01, 0, 0.018, 1]))
            bar.set_label("relative residual (dots)")
            bar.outline.set_linewidth(0.5)
        if legend:
            dark = 0.55 * (1 - veil)
            entries = {"kept": "white", "dropped": str(dark)}
            if (self.tiles_ < 0).any():
                entries["in no patch"] = str(_UNSAMPLED_GRAY)
            handles = [Patch(facecolor=color, edgecolor="black", label=name) for name, color in entries.items()]
            ax.legend(
                handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=len(handles), frameon=False
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _check(self, shape, top, left, scores):
        if not len(top) == len(left) == len(scores):
            raise ValueError(
                f"There are {len(top)} tops and {len(left)} lefts, but the selection has scores of {len(scores)} "
                "patches; pass the patches as they were before the selection."
            )
        height, width = shape
        if min(top.min(), left.min()) < 0 or max(top.max() - height, left.max() - width) + self.patch_size > 0:
            raise ValueError(
                f"Patches of {self.patch_size} pixels at top {top.min()} to {top.max()} and left {left.min()} to "
                f"{left.max()} reach beyond the image of {height} x {width} pixels (height x width). "
                "Pass the image and the patch_size that the patches were cut with."
            )


def _nearest_patch(shape, top, left, patch_size):
    """Of the patches that cover a pixel, the one whose center is nearest; -1 where there is none."""
    tiles = np.full(shape, -1)
    nearest = np.full(shape, np.inf)
    offset = (np.arange(patch_size) - (patch_size - 1) / 2) ** 2
    distance = np.add.outer(offset, offset)
    for i, (row, column) in enumerate(zip(top, left, strict=True)):
        window = np.s_[row : row + patch_size, column : column + patch_size]
        closer = distance < nearest[window]
        tiles[window][closer] = i
        nearest[window][closer] = distance[closer]
    return tiles


def _veil(tiles, clear, strength):
    """Overlay (height, width, 4): transparent on clear tiles, dark on dropped ones, gray where there is no patch."""
    overlay = np.zeros((*tiles.shape, 4), dtype=np.float32)
    overlay[..., 3] = np.where(clear, 0.0, strength)
    overlay[tiles < 0, :3] = _UNSAMPLED_GRAY
    overlay[tiles < 0, 3] = max(strength, 0.85)
    return overlay


class ComputeDisplay:
    """Show what pipelines cost: one bar each, stacked by stage.

    Inference is hatched. Behind every bar stands its length, and its share of the longest one.

    Make it with :meth:`from_report`; the argument is stored as an attribute.

    Parameters
    ----------
    report : ComputeReport
        What :func:`patchdistill.models.compute_report` gave.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that was drawn on.
    figure_ : matplotlib Figure
        Figure of `ax_`.
    bars_ : dict of (str, str, str) to matplotlib Rectangle
        Piece of each pipeline, phase and stage.

    See Also
    --------
    patchdistill.models.compute_report : Measures the costs.

    Examples
    --------
    >>> from patchdistill.models.compute import ComputeReport, StageCost
    >>> from patchdistill.plotting import ComputeDisplay
    >>> report = ComputeReport((StageCost("kept", "training", "model", 2.0, None),))
    >>> ComputeDisplay.from_report(report).ax_.get_xlabel()
    'seconds'
    """

    def __init__(self, report):
        self.report = report

    @classmethod
    def from_report(cls, report, *, ax=None):
        """Draw a report.

        Parameters
        ----------
        report : ComputeReport
            What was measured.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        ComputeDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(report).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        ComputeDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", "ComputeDisplay", "viz")
        from matplotlib.patches import Patch

        variants = self.report.variants
        if ax is None:
            _, ax = pyplot.subplots(figsize=(9, 1.4 + 0.45 * len(variants)), layout="constrained")
        # In the order of the pipeline that has most of them: others may leave out what comes first there.
        per_variant = [[cost.stage for cost in self.report.stages if cost.variant == variant] for variant in variants]
        stages = list(dict.fromkeys(stage for stages in sorted(per_variant, key=len, reverse=True) for stage in stages))
        colors = dict(zip(stages, pyplot.get_cmap("viridis")(np.linspace(0.15, 0.95, len(stages))), strict=True))
        ends = dict.fromkeys(variants, 0.0)
        self.bars_ = {}
        for cost in self.report.stages:
            (piece,) = ax.barh(
                cost.variant,
                cost.seconds,
                left=ends[cost.variant],
                color=colors[cost.stage],
                hatch="///" if cost.phase == "inference" else None,
                edgecolor="white",
                linewidth=0.5,
            )
            self.bars_[cost.variant, cost.phase, cost.stage] = piece
            ends[cost.variant] += cost.seconds
        longest = max(ends.values())
        for variant, end in ends.items():
            ax.annotate(f" {end:.3g} s, {end / longest:.0%}", (end, variant), va="center")
        handles = [Patch(facecolor=colors[stage], label=stage) for stage in stages]
        handles.append(Patch(facecolor="0.7", hatch="///", edgecolor="white", label="inference"))
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=len(handles), frameon=False)
        ax.set(xlabel="seconds", xlim=(0, 1.25 * longest), ylim=(len(variants) - 0.5, -0.5))
        ax.spines[["top", "right"]].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
