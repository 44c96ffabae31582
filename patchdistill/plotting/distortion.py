"""What changed between a picture and its reference, where, and in which direction."""

import numpy as np

from patchdistill._compat import import_optional
from patchdistill.codecs import to_8_bits
from patchdistill.images import load_image
from patchdistill.relational.description import describe_map
from patchdistill.relational.heat import LESS, LIMIT, MORE, draw_heat, shrink

_LONGEST = 1600
_N_COLUMNS = 3


class DistortionMapDisplay:
    """Show a distortion map on the picture that it was predicted for, one channel on each axes.

    The picture is drawn in gray, blue where it has less of the channel than its reference and red where it has more.
    The outline is the worst region.

    Make it with :meth:`from_map` or :meth:`from_pair`; all arguments are stored as attributes.

    Parameters
    ----------
    D : array-like of shape (n_channels, h, w)
        Map in [-1, 1], one value per cell of 8 x 8 pixels.
    channel_names : sequence of str
        Names of the channels.
    image : array-like of shape (height, width, 3), or path
        The picture: uint8 in [0, 255], or float in [0, 1].
    geometry : {"flat", "panorama"}, default="flat"
        A panorama has its longitudes and latitudes at the axes, and regions go on across its seam.

    Attributes
    ----------
    reports_ : list of ChannelReport
        What :func:`patchdistill.relational.describe_map` says of each channel.
    axes_ : ndarray of matplotlib Axes, shape (n_drawn,)
        One for each channel drawn.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    patchdistill.relational.ClassicalRelationalMap : Predicts such maps.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.plotting import DistortionMapDisplay
    >>> D = np.zeros((2, 8, 8))
    >>> D[1, :4] = -0.4
    >>> image = np.full((64, 64, 3), 128, dtype=np.uint8)
    >>> display = DistortionMapDisplay.from_map(D, ["noise", "sharpness"], image)
    >>> [ax.get_title() for ax in display.axes_]
    ['noise: unchanged', 'sharpness: blurrier (-0.40)']
    """

    def __init__(self, D, channel_names, image, geometry="flat"):
        self.D = D
        self.channel_names = channel_names
        self.image = image
        self.geometry = geometry

    @classmethod
    def from_map(cls, D, channel_names, image, *, geometry="flat", ax=None, **options):
        """Draw a map.

        Parameters
        ----------
        D : array-like of shape (n_channels, h, w)
            The map.
        channel_names : sequence of str
            Names of its channels.
        image : array-like of shape (height, width, 3), or path
            The picture it was predicted for.
        geometry : {"flat", "panorama"}, default="flat"
            What the picture is.
        ax : matplotlib Axes, default=None
            Where to draw one channel; a new figure by default.
        **options
            Passed to :meth:`plot`.

        Returns
        -------
        DistortionMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            As :meth:`plot`.
        ImportError
            If matplotlib or Pillow is not installed.
        """
        return cls(D, channel_names, image, geometry).plot(ax, **options)

    @classmethod
    def from_pair(cls, map, image, ref, *, geometry="flat", ax=None, **options):
        """Predict a map and draw it.

        Parameters
        ----------
        map : estimator
            What predicts maps, as a fitted :class:`~patchdistill.relational.ClassicalRelationalMap`.
        image, ref : array-like of shape (height, width, 3), or path
            The picture and its reference.
        geometry : {"flat", "panorama"}, default="flat"
            What they are.
        ax : matplotlib Axes, default=None
            Where to draw one channel; a new figure by default.
        **options
            Passed to :meth:`plot`.

        Returns
        -------
        DistortionMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            As :meth:`plot`, or if the map refuses the pictures.
        ImportError
            If matplotlib or Pillow is not installed.
        """
        image = load_image(image, 0)
        D = map.predict_map(image, load_image(ref, 1), geometry=geometry)
        return cls.from_map(D, map.channel_names_, image, geometry=geometry, ax=ax, **options)

    def plot(self, ax=None, *, channel=None, outline=True, colorbar=True):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw `channel`; a new figure by default.
        channel : str, default=None
            The channel to draw; all, each on its own axes of a new figure, by default.
        outline : bool, default=True
            Whether to outline the worst region.
        colorbar : bool, default=True
            Whether to draw the scale of the colors, which is the same for all channels.

        Returns
        -------
        self
            This display.

        Raises
        ------
        ValueError
            If the map does not fit the names or the image, there is no such channel, or there is an `ax` for all.
        ImportError
            If matplotlib or Pillow is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", type(self).__name__, "viz")
        names = list(self.channel_names)
        if channel is not None and channel not in names:
            raise ValueError(f"There is no channel {channel!r} in this map; its channels are {', '.join(names)}.")
        if channel is None and ax is not None:
            raise ValueError("One ax cannot hold all channels; name one with channel=..., or leave ax out.")
        image = to_8_bits(load_image(self.image, 0))
        shape = image.shape[:2]
        self.reports_ = describe_map(self.D, names, shape, self.geometry)
        drawn = range(len(names)) if channel is None else [names.index(channel)]
        self.axes_ = _new_axes(pyplot, len(drawn), shape) if ax is None else np.array([ax])
        self.figure_ = self.axes_[0].figure
        small = shrink(image, _LONGEST)
        for ax, i in zip(self.axes_, drawn, strict=True):
            # The extent is that of the whole picture: places on the axes are its pixels, however it was shrunk.
            ax.imshow(draw_heat(small, self.D[i], shape), extent=(0, shape[1], shape[0], 0))
            self._label(ax, self.reports_[i], shape)
            if outline and self.reports_[i].box is not None:
                _outline(ax, self.reports_[i].box, shape[1])
        if colorbar:
            _draw_colorbar(self.figure_, list(self.axes_))
        return self

    def _label(self, ax, report, shape):
        ax.set_title(f"{report.channel}: {report.word}" + f" ({report.worst_tenth:+.2f})" * (report.box is not None))
        if self.geometry == "flat":
            ax.set(xticks=[], yticks=[])
            return
        lon, lat = np.array([-180, -90, 0, 90, 180]), np.array([90, 45, 0, -45, -90])
        ax.set_xticks((lon + 180) / 360 * shape[1], [f"{degrees}°" for degrees in lon])
        ax.set_yticks((90 - lat) / 180 * shape[0], [f"{degrees}°" for degrees in lat])


def _new_axes(pyplot, n, shape):
    n_columns = min(n, _N_COLUMNS)
    n_rows = -(-n // n_columns)
    width = 9 if n == 1 else 4.2
    size = width * n_columns, (width * shape[0] / shape[1] + 0.4) * n_rows + 0.8
    axes = pyplot.subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")[1].ravel()
    for ax in axes[n:]:
        ax.remove()
    return axes[:n]


def _outline(ax, box, width):
    Rectangle = import_optional("matplotlib.patches", "DistortionMapDisplay", "viz").Rectangle
    top, left, bottom, right = box
    for start, end in [(left, right)] if left < right else [(left, width), (0, right)]:
        ax.add_patch(Rectangle((start, top), end - start, bottom - top, fill=False, edgecolor="black", linewidth=1.2))


def _draw_colorbar(figure, axes):
    matplotlib = import_optional("matplotlib", "DistortionMapDisplay", "viz")
    ends = [np.array(color) / 255 for color in (LESS, MORE)]
    colors = matplotlib.colors.LinearSegmentedColormap.from_list("less to more", [ends[0], "white", ends[1]])
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(-LIMIT, LIMIT), colors)
    bar = figure.colorbar(scale, ax=axes, orientation="horizontal", shrink=0.5, aspect=40, extend="both")
    bar.set_label("← less than the reference    |    more than the reference →")
    bar.outline.set_linewidth(0.5)
