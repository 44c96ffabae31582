"""Checks that need no more of an array on disk than its header."""

import math
from typing import NamedTuple

import numpy as np

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Header(NamedTuple):
    """What the header of a ``.npy`` array says.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    fortran_order : bool
        Whether the first axis is the one that changes fastest.
    dtype : numpy.dtype
        Type of the numbers.
    begin : int
        Where the numbers begin, in bytes.
    """

    shape: tuple
    fortran_order: bool
    dtype: np.dtype
    begin: int


def read_header(stream, size, label):
    """Read the header of a ``.npy`` array and check that real numbers follow, and enough of them.

    Parameters
    ----------
    stream : file
        Open for binary reading, at its beginning.
    size : int
        Length of the stream in bytes.
    label : str or Path
        Name of the array, for error messages.

    Returns
    -------
    Header
        What it says.

    Raises
    ------
    ValueError
        If it is none, if the array holds anything but real numbers, or if it is truncated.
    """
    try:
        version = np.lib.format.read_magic(stream)
        header = _READERS[version](stream) if version in _READERS else None
    except Exception as error:  # a header is Python source; what a damaged one raises depends on the damage
        raise ValueError(f"{label} is truncated or no .npy array ({error}).") from error
    if header is None:  # the third version of the format is for the names of fields
        raise ValueError(f"{label} holds records with named fields; embeddings are real numbers.")
    header = Header(*header, begin=stream.tell())
    check_dtype(header.dtype, label)
    promised, there = math.prod(header.shape) * header.dtype.itemsize, size - header.begin
    if there < promised:
        raise ValueError(
            f"{label} is truncated: its header promises {promised} bytes of numbers, and {there} are there. "
            "Copy or compute it again."
        )
    return header


def check_dtype(dtype, label):
    """Check that entries of a type are real numbers.

    Parameters
    ----------
    dtype : numpy.dtype
        The type.
    label : str or Path
        Name of the array, for the error message.

    Raises
    ------
    ValueError
        If they are not.
    """
    if dtype.hasobject:
        raise ValueError(
            f"{label} has dtype object: it holds pickled Python objects, which can run code and are not read. "
            "Save one array of numbers per image in a .npz or a folder."
        )
    if dtype.kind not in "biuf":
        raise ValueError(f"{label} has dtype {dtype}, but embeddings are real numbers, floats or integers.")
