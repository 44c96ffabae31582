"""What each channel of a distortion does to pixels: `(picture, strength, rng, geometry) -> picture`, not clipped."""

from patchdistill.relational.operators import codecs, filters, noise, tone

OPERATORS = {
    "exposure": tone.exposure,
    "contrast": tone.contrast,
    "saturation": tone.saturation,
    "temperature": tone.temperature,
    "hue": tone.hue,
    "sharpness": filters.sharpness,
    "motion blur": filters.motion_blur,
    "shot noise": noise.shot_noise,
    "noise": noise.noise,
    "chroma noise": noise.chroma_noise,
    "banding": tone.banding,
}
FILTERS = ("sharpness", "motion blur")
NOISES = ("shot noise", "noise", "chroma noise")
CODECS = {"dct": codecs.dct_quantization, "jpeg": codecs.jpeg, "jpeg2000": codecs.jpeg2000}


def operator_of(channel, codec):
    """Give the operator of a channel.

    Parameters
    ----------
    channel : str
        Its name.
    codec : {"dct", "jpeg", "jpeg2000"}
        What blockiness is made by.

    Returns
    -------
    callable
        See above.
    """
    return CODECS[codec] if channel == "blockiness" else OPERATORS[channel]
