"""One table for every data set of image quality: a row per picture with its scene, distortion and opinion score."""

import os
from pathlib import Path

from patchdistill._compat import import_optional
from patchdistill.datasets._checks import check_one_kind, check_pictures, check_scenes, check_values, refuse
from patchdistill.journal.files import check_parent, write_whole

COLUMNS = ("image", "scene", "reference", "distortion", "level", "mos", "mos_std", "mos_kind")

_REQUIRED = ("image", "scene", "mos", "mos_kind")
_TEXTS = ("image", "scene", "reference", "distortion", "mos_kind")
_NUMBERS = ("level", "mos", "mos_std")


def make_manifest(data, root=None, check_files=True, mos_range=None):
    """Make a manifest out of columns or rows.

    Parameters
    ----------
    data : dict of column to values, list of dict, or DataFrame
        ``image``, ``scene``, ``mos`` and ``mos_kind``; the other columns of a manifest are optional (see
        :func:`check_manifest`), and further ones are kept.
    root : path-like, default=None
        Folder that relative images and references lie in; the current folder by default.
    check_files : bool, default=True
        Whether the pictures must be there.
    mos_range : tuple of (float, float), default=None
        Smallest and largest score that the rating scale allows.

    Returns
    -------
    DataFrame
        The manifest, with absolute paths.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`check_manifest`.
    ImportError
        If pandas is not installed.

    Examples
    --------
    >>> table = make_manifest(
    ...     {"image": ["/data/a.png", "/data/b.png"], "scene": "pier", "mos": [61, 22.5], "mos_kind": "mos"},
    ...     check_files=False,
    ... )
    >>> table[["scene", "mos", "level"]]
      scene   mos  level
    0  pier  61.0   <NA>
    1  pier  22.5   <NA>
    """
    table = check_manifest(data, root, check_files, mos_range)
    return _with_paths(table, lambda path: os.path.abspath(os.path.join(root or "", path)))


def check_manifest(table, folder=None, check_files=True, mos_range=None):
    """Check a manifest and bring it into its one form.

    Rows are counted from 1 in messages, the header of a file not included.

    Parameters
    ----------
    table : DataFrame, or what makes one
        One row per picture:

        - ``image``, str: path, absolute or relative to `folder`;
        - ``scene``, str: the content shown. All versions of one reference share it, and data are split by it;
        - ``reference``, str or missing: path of the picture without the distortion;
        - ``distortion``, str or missing: its name;
        - ``level``, int of at least 0 or missing: 0 without distortion, then growing with the strength meant;
        - ``mos``, float: mean opinion score;
        - ``mos_std``, float of at least 0 or missing: standard deviation of the single opinions;
        - ``mos_kind``: ``"mos"`` where higher is better, ``"dmos"`` where higher is worse, ``"flipped dmos"`` where the
          reader has turned a DMOS round, so that higher is better. The same in all rows.

        Other columns are kept behind these.
    folder : path-like, default=None
        Folder that relative paths start from; the current folder by default.
    check_files : bool, default=True
        Whether the pictures must be there. Their pixels are not looked at.
    mos_range : tuple of (float, float), default=None
        Smallest and largest score that the rating scale allows.

    Returns
    -------
    DataFrame
        A copy with all columns in this order: texts as ``string``, ``level`` as ``Int64``, scores as ``float64``.

    Raises
    ------
    ValueError
        If a required column is missing, a value is not as told above, an image is listed twice, two kinds of score are
        mixed, or a picture belongs to two scenes.
    FileNotFoundError
        If a picture is not there.
    ImportError
        If pandas is not installed.

    See Also
    --------
    read_manifest : From a file.

    Examples
    --------
    >>> rows = [{"image": "a.png", "scene": "pier", "mos": 61, "mos_kind": "mos"},
    ...         {"image": "b.png", "scene": "pier", "mos": 70, "mos_kind": "dmos"}]
    >>> check_manifest(rows, check_files=False)
    Traceback (most recent call last):
    ...
    ValueError: Row 2 (b.png) has mos_kind 'dmos', but row 1 has 'mos'. A manifest has scores of one kind, for others
    cannot be compared with them: make one of each.
    """
    pandas = import_optional("pandas", "A manifest", "studies")
    table = _complete(pandas, pandas.DataFrame(table))
    for column in _TEXTS:
        texts = table[column].map(str, na_action="ignore").astype("string")
        table[column] = texts.mask((texts.str.strip() == "").fillna(False))
    for column in _NUMBERS:
        numbers = pandas.to_numeric(table[column], errors="coerce").astype("Float64").astype("float64")
        refuse(table, column, numbers.isna() & table[column].notna(), "a number")
        table[column] = numbers
    check_values(table, mos_range)
    check_one_kind(table)
    table["level"] = table["level"].astype("Int64")
    check_scenes(pandas, table)
    if check_files:
        check_pictures(table, Path(folder or ""))
    return table


def read_manifest(path, check_files=True):
    """Read a manifest from a CSV or Parquet file.

    Parameters
    ----------
    path : path-like
        The file; its ending, ``.csv`` or ``.parquet``, tells the format.
    check_files : bool, default=True
        Whether the pictures must be there.

    Returns
    -------
    DataFrame
        As :func:`check_manifest`, with paths made absolute from the folder of the file.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`check_manifest`, naming the file; or if its ending is another one.
    ImportError
        If pandas, or for Parquet pyarrow, is not installed.

    See Also
    --------
    write_manifest : The other way.
    """
    pandas = import_optional("pandas", "A manifest", "studies")
    path = Path(path)
    if _format(path) == ".parquet":
        table = pandas.read_parquet(path)
    else:
        # Numbers of the manifest are read here as text, and with all their digits when they are checked. Only an empty
        # field is missing: a scene may be called NA.
        texts = {column: str for column in COLUMNS}
        table = pandas.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
    try:
        return make_manifest(table, path.parent, check_files)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{path}: {error}") from None


def write_manifest(table, path):
    """Write a manifest to a CSV or Parquet file, as a whole or not at all.

    Parameters
    ----------
    table : DataFrame
        The manifest. Pictures inside the folder of the file are written relative to it, so that both can be moved
        together; others keep their absolute path.
    path : path-like
        The file, which is replaced; its ending, ``.csv`` or ``.parquet``, tells the format.

    Raises
    ------
    ValueError
        As :func:`check_manifest`, or if the ending is another one.
    FileNotFoundError
        If its folder does not exist.
    ImportError
        If pandas, or for Parquet pyarrow, is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> table = make_manifest({"image": ["/data/a.png"], "scene": "pier", "mos": 61, "mos_kind": "mos"},
    ...                       check_files=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_manifest(table, Path(folder) / "manifest.csv")
    ...     print((Path(folder) / "manifest.csv").read_text())
    image,scene,reference,distortion,level,mos,mos_std,mos_kind
    /data/a.png,pier,,,,61.0,,mos
    """
    path = Path(os.path.abspath(path))
    ending = _format(path)
    check_parent(path)
    table = check_manifest(table, path.parent, check_files=False)
    table = _with_paths(table, lambda name: _relative(Path(name), path.parent))
    if ending == ".parquet":
        write_whole(path, lambda unfinished: table.to_parquet(unfinished, index=False))
    else:
        write_whole(path, lambda unfinished: table.to_csv(unfinished, index=False))


def _format(path):
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path} ends in {path.suffix!r}, but a manifest ends in .csv or .parquet. Rename it.")
    if path.suffix == ".parquet":
        import_optional("pyarrow", "A .parquet manifest", "studies")
    return path.suffix


def _with_paths(table, change):
    return table.assign(
        **{name: table[name].map(change, na_action="ignore") for name in ("image", "reference")}
    ).astype({"image": "string", "reference": "string"})


def _relative(path, folder):
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _complete(pandas, table):
    """All columns of a manifest in their order, the optional ones empty where they were not given."""
    absent = [column for column in _REQUIRED if column not in table]
    if absent:
        raise ValueError(
            f"The manifest has no column {absent[0]!r}; it has {list(map(str, table.columns))}. Required are "
            f"{', '.join(_REQUIRED)}: rename or add it."
        )
    if not len(table):
        raise ValueError("The manifest has no rows; give at least one picture.")
    table = table.reset_index(drop=True).assign(**{name: pandas.NA for name in COLUMNS if name not in table})
    return table[[*COLUMNS, *(name for name in table if name not in COLUMNS)]]
