"""Ties: numbers that are equal in theory and differ by rounding in practice must count as equal."""

import numpy as np

from patchdistill.ranking import rank

_BITS = 32
_SMALLEST_EXPONENT = -1074  # of float64: there is no finer grid, and sums on this one are exact
_DECIMALS = 9


def on_grid(matrix):
    """Round numbers to a grid so coarse that their sums are exact in float64, whatever the order of the terms.

    Two patches that are each other's nearest neighbours often serve a cover equally well; without this, rounding
    would choose between them, and the choice would change with the units of the features.

    Parameters
    ----------
    matrix : ndarray of float64
        Non-negative numbers.

    Returns
    -------
    ndarray of float64
        Multiples of a power of two that is about 2**-32 of the largest number.
    """
    _, exponent = np.frexp(matrix.max(initial=0.0))
    step = np.ldexp(1.0, max(exponent - _BITS, _SMALLEST_EXPONENT))
    return np.rint(matrix / step) * step


def rounded(scores):
    """Round scores that have a unit, relative to the largest one.

    Parameters
    ----------
    scores : ndarray of shape (n_patches,)
        Non-negative scores.

    Returns
    -------
    ndarray of shape (n_patches,)
        Numbers in [0, 1].
    """
    return np.round(scores / (scores.max(initial=0.0) or 1.0), _DECIMALS)


def rank_relative(scores, keep="low"):
    """Rank scores that have a unit; ties are told relative to the largest one.

    Parameters
    ----------
    scores : ndarray of shape (n_patches,)
        Non-negative scores.
    keep : {"low", "high"}, default="low"
        Which end comes first.

    Returns
    -------
    ndarray of int, shape (n_patches,)
        Indices, best first; equal scores go by index.
    """
    return rank(rounded(scores), keep)
