"""How all figures of a report look: one width, colors that color-blind readers can tell apart, one legend."""

from patchdistill._compat import import_optional

WIDTH = 9.0  # inches
MAX_COLUMNS = 3

# Okabe and Ito, with markers for print in gray.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "v", "D", "P", "X")
GRAY = "#777777"


def new_figure(height):
    """Make an empty figure that no window shows.

    Parameters
    ----------
    height : float
        In inches.

    Returns
    -------
    matplotlib Figure
        The figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    Figure = import_optional("matplotlib.figure", "The report of a study", "viz").Figure
    return Figure(figsize=(WIDTH, height), layout="constrained")


def panels(names, height, **options):
    """Make a figure with one axes per name.

    Parameters
    ----------
    names : sequence of str
        Titles.
    height : float
        Of a row of axes, in inches.
    **options
        Passed to ``Figure.subplots``.

    Returns
    -------
    figure : matplotlib Figure
        The figure.
    axes : dict of str to matplotlib Axes
        By name; at most three in a row.
    """
    n_columns = min(len(names), MAX_COLUMNS)
    n_rows = -(-len(names) // n_columns)
    figure = new_figure(n_rows * height + 0.6)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, **options).ravel()
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(axes, names, strict=False):
        ax.set_title(name, fontsize=10)
        plain(ax)
        ax.tick_params(labelbottom=True)  # also above a place that is empty
    return figure, dict(zip(names, axes, strict=False))


def plain(ax, grid="y"):
    """Leave of the frame what is needed.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes.
    grid : {"x", "y"}, default="y"
        Which axis has grid lines.
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9)


def shared_legend(figure):
    """Draw one legend below all axes.

    Parameters
    ----------
    figure : matplotlib Figure
        The figure, whose labels are shown, each once.
    """
    entries = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        n_columns = min(len(entries), 4)
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9)
