"""How strong an operator has to be: levels that do equal harm, whatever the channel.

A calibrated level is the harm (:func:`patchdistill.relational.harm.harm`) that an operator does to the average picture.
Not every channel can do every harm: without most of its color, a picture is about as bad as at a level of 0.3 of
others. So each side of a channel has a highest level.
"""

import json
from functools import cache
from importlib.resources import files

import numpy as np

from patchdistill.relational.channels import CHANNELS

SEVERITIES = ("calibrated", "strength")

# Digits that are kept of a calibration.
_DIGITS = 6


def ladder_name(channel, side, codec):
    """Name the ladder of one side of a channel.

    Parameters
    ----------
    channel : str
        Name of the channel.
    side : {"+", "-"}
        Which side.
    codec : {"dct", "jpeg", "jpeg2000"}
        What blockiness is made by; other channels have one ladder for all.

    Returns
    -------
    str
        ``contrast-``, ``noise+``, ``blockiness+ (jpeg)`` ...
    """
    return f"{channel}{side} ({codec})" if channel == "blockiness" else f"{channel}{side}"


def highest_level(channel, side, codec, severity="calibrated"):
    """Give the highest level of one side of a channel.

    Parameters
    ----------
    channel : str
        Name of the channel.
    side : {"+", "-"}
        Which side; all levels of a channel without a negative side are positive.
    codec : {"dct", "jpeg", "jpeg2000"}
        What blockiness is made by.
    severity : {"calibrated", "strength"}, default="calibrated"
        Whether levels are calibrated, or the strengths themselves.

    Returns
    -------
    float
        In [0, 1].
    """
    if side == "-" and not CHANNELS[channel].signed:
        return 0.0
    return 1.0 if severity == "strength" else ladders()[ladder_name(channel, side, codec)]["level"][-1]


def to_strength(level, channel, codec, severity="calibrated"):
    """Give the strength of an operator at a level.

    Parameters
    ----------
    level : float or ndarray
        From minus the highest level of the negative side to that of the positive one.
    channel : str
        Name of the channel.
    codec : {"dct", "jpeg", "jpeg2000"}
        What blockiness is made by.
    severity : {"calibrated", "strength"}, default="calibrated"
        Whether levels are calibrated, or the strengths themselves.

    Returns
    -------
    float or ndarray
        Of the sign of the level; 0 at level 0.
    """
    return _convert(level, channel, codec, severity, "level", "strength")


def to_level(strength, channel, codec, severity="calibrated"):
    """Undo :func:`to_strength`; what is stronger than the highest level has that.

    Parameters
    ----------
    strength : float or ndarray
        That of an operator.
    channel, codec, severity : str
        As there.

    Returns
    -------
    float or ndarray
        In [-1, 1].
    """
    return _convert(strength, channel, codec, severity, "strength", "level")


def _convert(value, channel, codec, severity, given, wanted):
    if severity == "strength":
        return value
    result = 0
    for side, sign in (("+", 1), ("-", -1)) if CHANNELS[channel].signed else (("+", 1),):
        ladder = ladders()[ladder_name(channel, side, codec)]
        result = result + sign * np.interp(sign * np.asarray(value), ladder[given], ladder[wanted])
    return result


@cache
def ladders():
    """Read the calibration.

    Returns
    -------
    dict of str to dict of str to list of float
        ``strength`` and ``level``, both increasing from 0, for each :func:`ladder_name`.
    """
    return json.loads(files("patchdistill.relational").joinpath("data/severity.json").read_text())["ladders"]


def make_ladder(strengths, harms):
    """Turn harms into a ladder.

    Parameters
    ----------
    strengths : array-like of shape (n,)
        Strengths of an operator, increasing from 0.
    harms : array-like of shape (n,)
        What they do on average; 0 for the first.

    Returns
    -------
    dict of str to list of float
        ``strength`` and ``level``: strictly increasing, the levels at most 1. Strengths that do no more harm than a
        smaller one are left out.

    Examples
    --------
    >>> from patchdistill.relational.severity import make_ladder
    >>> make_ladder([0, 0.25, 0.5, 0.75, 1], [0, 0.3, 0.2, 0.8, 1.2])
    {'strength': [0.0, 0.25, 0.75, 0.875], 'level': [0.0, 0.3, 0.8, 1.0]}
    """
    # Rounded first: what is equal afterwards is no step.
    strengths, harms = np.round(strengths, _DIGITS), np.round(harms, _DIGITS)
    rises = harms > np.maximum.accumulate(np.concatenate([[-np.inf], harms[:-1]]))
    strengths, harms = strengths[rises], harms[rises]
    if harms[-1] > 1:
        strengths = np.concatenate([strengths[harms < 1], [np.interp(1, harms, strengths)]])
        harms = np.concatenate([harms[harms < 1], [1.0]])
    return {"strength": np.round(strengths, _DIGITS).tolist(), "level": harms.tolist()}
