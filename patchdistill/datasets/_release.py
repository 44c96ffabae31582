"""What the readers of published data sets share: reading the scores, and finding the pictures they belong to."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from patchdistill._compat import import_optional
from patchdistill.datasets.manifest import make_manifest
from patchdistill.images import EXTENSIONS


@dataclass(frozen=True)
class Release:
    """A published data set, for messages where something of it is missing.

    Parameters
    ----------
    name : str
        Its name.
    layout : str
        What its reader expects.
    source : str
        Where it is to be had.
    mos_range : tuple of (float, float)
        Smallest and largest score that its rating scale allows.
    """

    name: str
    layout: str
    source: str
    mos_range: tuple

    def missing(self, what):
        """Make the error that tells what is missing."""
        return FileNotFoundError(
            f"{what} For {self.name}, {self.layout} It is to be had from {self.source}; nothing is downloaded."
        )


def read_scores(release, root, labels, columns):
    """Read a table of scores.

    Parameters
    ----------
    release : Release
        The data set.
    root : path-like
        Its folder.
    labels : path-like
        The table, relative to `root` or absolute. With the ending ``.txt`` it has no header, and its columns, parted by
        spaces, are those asked for in this order; otherwise it is CSV with a header.
    columns : dict of str to tuple of str
        For each column of the result the names it may have in the table, the usual one first. ``file`` and ``mos`` are
        among them.

    Returns
    -------
    DataFrame
        These columns: ``mos`` as float64, the others as text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, or a score is no number.
    """
    pandas = import_optional("pandas", "A manifest", "studies")
    path = Path(root, labels)
    if not path.is_file():
        raise release.missing(f"There is no file {path}.")
    if path.suffix == ".txt":
        table = pandas.read_csv(path, sep=r"\s+", header=None, dtype=str, keep_default_na=False)
        if table.shape[1] != len(columns):
            raise ValueError(
                f"{path} has {table.shape[1]} columns parted by spaces, but {len(columns)} are expected: "
                f"{', '.join(columns)}. For other tables use CSV with a header."
            )
        table = table.set_axis(list(columns), axis="columns")
    else:
        table = pandas.read_csv(path, dtype=str, keep_default_na=False)
        table = pandas.DataFrame({column: _column(table, path, names) for column, names in columns.items()})
    if not len(table):
        raise ValueError(f"{path} has no rows; one per picture is expected.")
    numbers = pandas.to_numeric(table["mos"], errors="coerce").astype("float64")
    if numbers.isna().any():
        row = int(numbers.isna().to_numpy().argmax())
        raise ValueError(f"{path}, row {row + 1} ({table['file'][row]}): the score {table['mos'][row]!r} is no number.")
    return table.assign(mos=numbers)


def _column(table, path, names):
    for name in names:
        if name in table:
            return table[name]
    raise ValueError(f"{path} has no column {' or '.join(map(repr, names))}; it has {list(table.columns)}. Rename it.")


def read_matlab(release, path, variable):
    """Read a variable of a MATLAB file.

    Parameters
    ----------
    release : Release
        The data set.
    path : Path
        The file, of a version before 7.3.
    variable : str
        Its name.

    Returns
    -------
    ndarray
        Its value; a cell array becomes an array of str and float objects.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or holds no such variable.
    """
    if not path.is_file():
        raise release.missing(f"There is no file {path}.")
    try:
        content = loadmat(path, simplify_cells=True)
    except Exception as error:  # a broken file can raise anything
        raise ValueError(f"{path} cannot be read as a MATLAB file ({type(error).__name__}: {error}).") from error
    if variable not in content:
        names = [name for name in content if not name.startswith("__")]
        raise ValueError(f"{path} holds no variable {variable!r}; it holds {names}. Is it of another data set?")
    return content[variable]


def match_name(release, pattern, name):
    """Take a file name apart.

    Parameters
    ----------
    release : Release
        The data set.
    pattern : str
        Regular expression of its file names without ending.
    name : str
        File name, with or without the ending of a picture.

    Returns
    -------
    tuple of str
        The groups of the pattern.

    Raises
    ------
    ValueError
        If it is no such name.
    """
    found = re.fullmatch(pattern, _stem(name))
    if found is None:
        raise ValueError(f"{name!r} is no file name of {release.name}. There, {release.layout}")
    return found.groups()


def _stem(name):
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in EXTENSIONS else name


def list_pictures(root):
    """List all pictures of a folder and of those inside it.

    Parameters
    ----------
    root : path-like
        The folder.

    Returns
    -------
    dict of str to list of str
        Their paths, for each file name without ending.
    """
    found = {}
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            if _stem(name) != name:
                found.setdefault(_stem(name), []).append(os.path.join(folder, name))
    return found


def _path_of(pictures, name):
    """Path of a picture, or None; the name of an image file counts with its ending, if it has one."""
    paths = [path for path in pictures.get(_stem(name), []) if name in (_stem(name), os.path.basename(path))]
    if len(paths) > 1:
        raise ValueError(
            f"There are two pictures {name}: {paths[0]} and {paths[1]}. Take one away, or name its folder."
        )
    return paths[0] if paths else None


def build_manifest(release, root, columns, references=None, mos_kind="mos"):
    """Find the pictures of a data set and make the manifest.

    Parameters
    ----------
    release : Release
        The data set.
    root : path-like
        Folder below which the pictures lie.
    columns : dict
        Columns of the manifest; ``image`` holds names of files, with or without the ending.
    references : list of str, default=None
        Name of the reference of each image, which need not be there. An image of level 0 gets none.
    mos_kind : {"mos", "flipped dmos"}, default="mos"
        Kind of the scores, which are higher for better pictures.

    Returns
    -------
    DataFrame
        The manifest.

    Raises
    ------
    FileNotFoundError
        If a picture is not there.
    ValueError
        If the manifest is not valid, two pictures have one name, or scores rise with the level of distortion.
    """
    pictures = list_pictures(root)
    names = list(columns["image"])
    paths = [_path_of(pictures, name) for name in names]
    if None in paths:
        raise release.missing(
            f"{names[paths.index(None)]} is not below {root}; {paths.count(None)} of {len(paths)} pictures are missing."
        )
    if references is not None:
        levels = columns["level"]
        references = [
            None if level == 0 else _path_of(pictures, n) for n, level in zip(references, levels, strict=True)
        ]
    data = {**columns, "image": paths, "reference": references, "mos_kind": mos_kind}
    table = make_manifest(data, check_files=False, mos_range=release.mos_range)
    _check_direction(release, table)
    return table


def _check_direction(release, table):
    """Scores of a table turned round would pass all else: they lie in the same range."""
    level = table["level"].fillna(0).to_numpy(dtype=int)
    present = np.unique(level[level > 0])
    if len(present) > 1:
        mildest, strongest = (table["mos"][level == end].mean() for end in present[[0, -1]])
        if strongest > mildest:
            raise ValueError(
                f"The mean score of {release.name} is {mildest:.4g} at level {present[0]} and {strongest:.4g} at level "
                f"{present[-1]}, but quality falls with the level. Do the scores belong to these files, and is higher "
                "better in them, as the reader expects?"
            )
