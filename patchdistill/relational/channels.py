"""What can have changed between two versions of a picture, and the words for it."""

from dataclasses import dataclass

# Side of the squares of pixels that share one value of a map, that of the blocks of JPEG.
CELL = 8


@dataclass(frozen=True)
class Channel:
    """One kind of change.

    Attributes
    ----------
    name : str
        What it is called in tables.
    signed : bool
        Whether a picture can have less of it than a clean one: blur is negative sharpness, but no noise is the least.
    words : (str, str)
        What a picture is that has less, or more, of it than its reference.
    """

    name: str
    signed: bool
    words: tuple


# In the order in which a camera and an encoder bring them about: tone, optics, sensor, codec. A later change then
# leaves the earlier ones what they are called: blur after noise would take most of the noise away.
_ALL = (
    Channel("exposure", True, ("darker", "brighter")),
    Channel("contrast", True, ("flatter", "harsher")),
    Channel("saturation", True, ("paler", "more colorful")),
    Channel("temperature", True, ("cooler", "warmer")),
    Channel("hue", True, ("hues turned towards magenta", "hues turned towards yellow")),
    Channel("sharpness", True, ("blurrier", "sharper")),
    Channel("motion blur", False, ("less motion blur", "more motion blur")),
    Channel("shot noise", False, ("less shot noise", "more shot noise")),
    Channel("noise", False, ("less noisy", "noisier")),
    Channel("chroma noise", False, ("less color noise", "more color noise")),
    Channel("banding", False, ("less banded", "more banded")),
    Channel("blockiness", False, ("less blocky", "blockier")),
)
CHANNELS = {channel.name: channel for channel in _ALL}
CORE6 = ("exposure", "contrast", "saturation", "sharpness", "noise", "blockiness")
FULL12 = tuple(CHANNELS)
SETS = {"core6": CORE6, "full12": FULL12}


def check_channels(channels):
    """Give the names of channels, in the order of their maps.

    Parameters
    ----------
    channels : {"core6", "full12"} or sequence of str
        A set of channels, or names.

    Returns
    -------
    tuple of str
        Names.

    Raises
    ------
    ValueError
        If there is no such set or channel, or one is named twice.

    Examples
    --------
    >>> from patchdistill.relational.channels import check_channels
    >>> check_channels("core6")
    ('exposure', 'contrast', 'saturation', 'sharpness', 'noise', 'blockiness')
    """
    if isinstance(channels, str):
        if channels not in SETS:
            raise ValueError(f"channels must be 'core6', 'full12' or a sequence of names; got {channels!r}.")
        return SETS[channels]
    names = tuple(channels)
    unknown = [name for name in names if name not in CHANNELS]
    if unknown:
        raise ValueError(f"There is no channel {unknown[0]!r}; the names are {', '.join(CHANNELS)}.")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"channels must name at least one channel, and each once; got {names}.")
    return names
