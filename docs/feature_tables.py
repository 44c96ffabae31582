"""Tables of the page "Features that fool a quality model", from the file that its study wrote."""

from tables import _load, _source, _table

NAME = "study_qfm"
PLAIN = "plain"

TITLES = {
    "statistics": "Linear, ``PatchStatistics``",
    "statistics and colors": "Linear, ``PatchStatistics`` and colors",
    "network": "Linear, transformer with random weights",
    "pixels": "Networks, from pixels",
}


def design():
    """Describe the study."""
    settings = _load(NAME)["settings"]
    *few, most = settings["n_labels"]
    return (
        f"*Dead leaves*: {settings['n_seeds']} times {settings['n_train']} pictures of "
        ":func:`~patchdistill.datasets.make_semantic_confound` to learn from and "
        f"{settings['n_test']} to test on. *Photographs*: 170 of LIVE In the Wild, {settings['n_seeds']} splits by "
        f"scene, a quarter of the scenes to test on; {', '.join(map(str, few))}{' and ' if few else ''}{most} labels.\n"
    )


def models(data):
    """List the models of one data set, a table for each kind of features; in bold what leaves out zero."""
    results = _load(NAME)
    of_data = [row for row in results["table"] if row["data"] == data]
    text = ""
    for feature in dict.fromkeys(row["feature"] for row in of_data):
        rows = sorted((row for row in of_data if row["feature"] == feature), key=lambda row: row["n_labels"])
        header, cells = ["Partners", *_HEADER], [[row["arm"], *_figures(row)] for row in rows]
        if feature != "pixels":
            header.append("Penalty chosen")
            cells = [[*of_row, _chosen(results, row)] for of_row, row in zip(cells, rows, strict=True)]
        if len({row["n_labels"] for row in rows}) > 1:
            header.insert(0, "Labels")
            labels = [row["n_labels"] if row["arm"] == PLAIN else "" for row in rows]
            cells = [[n, *of_row] for n, of_row in zip(labels, cells, strict=True)]
        text += f"{TITLES[feature]}:\n\n{_table(header, cells)}\n"
    return text + _source(NAME, results)


_HEADER = ("SRCC", "less that of plain", "PLCC", "Sensitivity", "less that of plain")


def _figures(row):
    return [
        f"{row['srcc']:.3f}",
        _difference(row, "srcc"),
        f"{row['plcc']:.3f}",
        f"{row['sensitivity']:.3f}",
        _difference(row, "sensitivity"),
    ]


def _difference(row, figure):
    """Difference with its interval, in bold type where that leaves out zero."""
    if row["arm"] == PLAIN:
        return ""
    value, low, high = row[f"{figure}_difference"]
    text = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"**{text}**" if low > 0 or high < 0 else text


def _chosen(results, row):
    """In how many of the seeds the tuning took a penalty, and not 0."""
    if row["arm"] == PLAIN:
        return ""
    same = ("data", "model", "feature", "n_labels", "arm")
    found = [one for one in results["per_seed"] if all(one[key] == row[key] for key in same)]
    return f"{sum(one['chosen']['lam'] > 0 for one in found)} of {len(found)}"


FEATURE_TABLES = {
    "features_design": design,
    "features_confound": lambda: models("confound"),
    "features_photographs": lambda: models("photographs"),
}
