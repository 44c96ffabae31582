"""What is wrong with the rows of a manifest, told by row."""

import os

import numpy as np

MOS_KINDS = ("mos", "dmos", "flipped dmos")


def refuse(table, column, wrong, expected):
    """Name the first value that is not as expected.

    Parameters
    ----------
    table : DataFrame
        The manifest.
    column : str
        Where the values are.
    wrong : array-like of bool, shape (n_rows,)
        Which of them are refused.
    expected : str
        What a value must be.

    Raises
    ------
    ValueError
        If there is one.
    """
    wrong = np.asarray(wrong, dtype=bool)
    if not wrong.any():
        return
    row, more = int(wrong.argmax()), int(wrong.sum()) - 1
    value = table[column].iloc[row]
    shown = "no value" if table[column].isna().iloc[row] else repr(value.item() if hasattr(value, "item") else value)
    raise ValueError(
        f"{name_row(table, row)} has {shown} in column {column!r}, but it must be {expected}."
        + (f" So it is in {more} more rows." if more else "")
    )


def name_row(table, row):
    """Name a row by its number, counted from 1, and its image."""
    return f"Row {row + 1} ({table['image'].iloc[row]})"


def check_values(table, mos_range):
    """Refuse what no row may hold.

    Parameters
    ----------
    table : DataFrame
        The manifest, texts and numbers converted.
    mos_range : tuple of (float, float) or None
        Smallest and largest score that the rating scale allows.

    Raises
    ------
    ValueError
        If there is such a row.
    """
    refuse(table, "image", table["image"].isna(), "the path of a picture")
    refuse(table, "scene", table["scene"].isna(), "the name of the content shown, the same for all its versions")
    refuse(table, "mos_kind", ~table["mos_kind"].isin(MOS_KINDS), f"one of {', '.join(MOS_KINDS)}")
    refuse(table, "mos", ~np.isfinite(table["mos"]), "a finite number")
    if mos_range is not None:
        low, high = mos_range
        expected = f"in [{low:g}, {high:g}], the range of the rating scale; look for scores of another source"
        refuse(table, "mos", ~table["mos"].between(low, high), expected)
    deviation = table["mos_std"]
    refuse(table, "mos_std", deviation.notna() & ~(np.isfinite(deviation) & (deviation >= 0)), "at least 0, or empty")
    level = table["level"]
    whole = (level >= 0) & (level % 1 == 0)
    refuse(table, "level", level.notna() & ~whole, "0 (no distortion) or a positive whole number, or empty")


def check_one_kind(table):
    """Refuse scores of two kinds.

    Parameters
    ----------
    table : DataFrame
        The manifest.

    Raises
    ------
    ValueError
        If there are any.
    """
    kinds = table["mos_kind"]
    other = (kinds != kinds.iloc[0]).to_numpy()
    if other.any():
        row = int(other.argmax())
        raise ValueError(
            f"{name_row(table, row)} has mos_kind {kinds.iloc[row]!r}, but row 1 has {kinds.iloc[0]!r}. A manifest has "
            "scores of one kind, for others cannot be compared with them: make one of each."
        )


def check_scenes(pandas, table):
    """Refuse an image listed twice and a picture, reference or not, in two scenes.

    Parameters
    ----------
    pandas : module
        The package.
    table : DataFrame
        The manifest.

    Raises
    ------
    ValueError
        If there is one.
    """
    images = table["image"].map(os.path.normpath)
    again = images.duplicated().to_numpy()
    if again.any():
        row = int(again.argmax())
        first = int((images == images.iloc[row]).to_numpy().argmax())
        raise ValueError(
            f"{name_row(table, row)} lists the image of row {first + 1} again; {int(again.sum())} row(s) repeat an "
            "image. Keep one row per picture."
        )
    references = table["reference"].dropna().map(os.path.normpath)
    shown = pandas.DataFrame({"path": pandas.concat([images, references])})
    shown["scene"] = table["scene"].loc[shown.index]
    # The scene a picture has where it is first listed; an image counts as listed before all references.
    first = shown.drop_duplicates("path").set_index("path")["scene"]
    differs = (shown["scene"].to_numpy() != first.loc[shown["path"]].to_numpy()).astype(bool)
    if differs.any():
        path, row = shown["path"].iloc[int(differs.argmax())], shown.index[int(differs.argmax())]
        raise ValueError(
            f"{name_row(table, row)} is in scene {table['scene'].iloc[row]!r}, but its reference {path} belongs to "
            f"scene {first.loc[path]!r} elsewhere. All versions of one reference need one scene: data are split by it."
        )


def check_pictures(table, folder):
    """Refuse pictures that are not there.

    Parameters
    ----------
    table : DataFrame
        The manifest.
    folder : Path
        Where relative paths start.

    Raises
    ------
    FileNotFoundError
        If there are any.
    """
    for column in ("image", "reference"):
        absent = [row for row, path in table[column].dropna().items() if not (folder / path).is_file()]
        if absent:
            raise FileNotFoundError(
                f"{name_row(table, absent[0])}: there is no file {folder / table[column].iloc[absent[0]]} ({column}); "
                f"{len(absent)} of {int(table[column].notna().sum())} are missing. Correct the paths, or take the rows "
                "out."
            )
