"""Any folder of pictures with a table of scores."""

from pathlib import Path

from patchdistill._compat import import_optional
from patchdistill.datasets.manifest import make_manifest


def read_folder(root, labels, image="image", mos="mos", mos_kind="mos", mos_range=None, **columns):
    r"""Read a folder of pictures that has a CSV table of scores.

    Parameters
    ----------
    root : path-like
        The folder.
    labels : path-like
        CSV table with a header, one row per picture; its path is relative to `root`.
    image, mos : str, default="image" and "mos"
        Its columns of file names, relative to `root`, and of scores.
    mos_kind : {"mos", "dmos", "flipped dmos"}, default="mos"
        Kind of the scores; ``"dmos"`` where higher is worse.
    mos_range : tuple of (float, float), default=None
        Smallest and largest score that the rating scale allows.
    **columns : str
        Its columns for further ones of a manifest: ``scene``, ``reference``, ``distortion``, ``level``, ``mos_std``.
        Without ``scene`` each picture is a scene of its own, which holds only where no two show the same content.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`.

    Raises
    ------
    FileNotFoundError
        If the table or a picture is not there.
    TypeError
        If `columns` names what a manifest does not have.
    ValueError
        If the table has no such column, or the manifest is not valid.

    Examples
    --------
    >>> import tempfile
    >>> from patchdistill.datasets import read_folder
    >>> with tempfile.TemporaryDirectory() as root:
    ...     _ = Path(root, "a.png").write_bytes(b"")
    ...     _ = Path(root, "scores.csv").write_text("name,quality,place\na.png,3.5,pier\n")
    ...     table = read_folder(root, "scores.csv", image="name", mos="quality", scene="place")
    >>> table[["scene", "mos", "mos_kind"]]
      scene  mos mos_kind
    0  pier  3.5      mos
    """
    unknown = set(columns) - {"scene", "reference", "distortion", "level", "mos_std"}
    if unknown:
        raise TypeError(
            f"read_folder got {sorted(unknown)[0]!r}, but only scene, reference, distortion, level and mos_std name "
            "further columns."
        )
    pandas = import_optional("pandas", "A manifest", "studies")
    path = Path(root, labels)
    table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    columns = {"image": image, "mos": mos, **columns}
    for name in columns.values():
        if name not in table:
            raise ValueError(f"{path} has no column {name!r}; it has {list(table.columns)}. Name one of these.")
    data = {column: table[name].mask(table[name] == "") for column, name in columns.items()}
    data.setdefault("scene", table[image])
    return make_manifest({**data, "mos_kind": mos_kind}, root, mos_range=mos_range)
