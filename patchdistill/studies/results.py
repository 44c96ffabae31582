"""What a study found: tidy tables."""

import json
from dataclasses import dataclass
from pathlib import Path

from patchdistill._compat import import_optional
from patchdistill.journal.files import write_whole
from patchdistill.studies.pieces import read_arrays

DESIGN, CELLS, EXAMPLES = "study.json", "cells.jsonl", "examples"

_CELL_TYPES = {"metric": "string", "h": "Int64", "rate": "float64", "outlier_ratio": "float64"}


@dataclass(frozen=True)
class StudyResults:
    """Results of a study, finished or not.

    Attributes
    ----------
    settings : dict
        What was compared, in JSON types.
    cells : DataFrame
        One row per trained model: ``sampling``, ``selection`` ("all", "residual" or "random"), ``metric`` and ``h``
        (of residual selection), ``rate``, ``model``, ``seed``, ``n_train`` and ``n_test`` images, ``n_kept`` patches
        per image, ``srcc``, ``krcc``, ``plcc``, ``rmse``, ``outlier_ratio`` (errors above twice the ``mos_std`` of the
        manifest), the ``mapping`` that PLCC and RMSE were taken after, ``fit_seconds`` and ``predict_seconds``. NaN
        where predictions were constant.
    n_cells : int
        How many rows there are when the study is finished.
    solutions : DataFrame
        One row per sampling, metric, h and image: ``n_iter``, relative duality ``gap``, ``converged``,
        ``n_outliers``, ``seconds``.
    costs : DataFrame
        One row per sampling and image: ``sampling_seconds``, ``embedding_seconds``.
    examples : list of dict
        Of each sampling one image with its patches: ``sampling``, ``title``, ``metric``, ``h``, ``rate``, ``image``
        (height, width, 3), ``fields``, ``scores``, and ``kept`` patches.
    """

    settings: dict
    cells: object
    n_cells: int
    solutions: object
    costs: object
    examples: list

    def write_tables(self, folder):
        """Write the tables as ``cells.parquet``, ``solutions.parquet`` and ``costs.parquet``.

        Parameters
        ----------
        folder : path-like
            Where.
        """
        for name in ("cells", "solutions", "costs"):
            write_whole(Path(folder) / f"{name}.parquet", getattr(self, name).to_parquet)


def read_study(folder):
    """Read what a study has found so far.

    Parameters
    ----------
    folder : path-like
        What :func:`run_study` wrote to.

    Returns
    -------
    StudyResults
        The tables; of an unfinished study, what there is of them.

    Raises
    ------
    ValueError
        If there is no study in the folder.
    """
    folder = Path(folder)
    if not (folder / DESIGN).is_file():
        raise ValueError(f"{folder} holds no study: there is no {DESIGN}. Give the folder that a study was run in.")
    design = json.loads((folder / DESIGN).read_text(encoding="utf-8"))
    return StudyResults(
        settings=design["settings"],
        cells=_cells(folder, design["cells"]),
        n_cells=len(design["cells"]),
        solutions=_solutions(folder, design["selections"], design["features"]),
        costs=_costs(folder, design["features"]),
        examples=_examples(folder),
    )


def _cells(folder, names):
    pandas = import_optional("pandas", "read_study", "studies")
    records = {}
    for line in (folder / CELLS).read_text(encoding="utf-8").splitlines(keepends=True):
        record = (
            json.loads(line) if line.endswith("\n") else {}
        )  # a line that was not written to its end does not count
        if "cell" in record:
            records[record["cell"]] = record
    table = pandas.DataFrame([records[name] for name in names if name in records])
    if not len(table):
        raise ValueError(f"{folder} holds a study without a single finished model. Run it first.")
    return table.drop(columns="cell").astype({name: of for name, of in _CELL_TYPES.items() if name in table})


def _solutions(folder, selections, features):
    pandas = import_optional("pandas", "read_study", "studies")
    images = {}
    for sampling, image, _ in features:
        images.setdefault(sampling, []).append(image)
    tables = []
    for sampling, metric, h, file in selections:
        if (folder / file).exists():
            columns = read_arrays(folder / file, ("n_iter", "gap", "converged", "n_outliers", "seconds"))
            key = {"sampling": sampling, "metric": metric, "h": h, "image": images[sampling]}
            tables.append(pandas.DataFrame({**key, **columns}))
    columns = ["sampling", "metric", "h", "image", "n_iter", "gap", "converged", "n_outliers", "seconds"]
    return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame(columns=columns)


def _costs(folder, features):
    pandas = import_optional("pandas", "read_study", "studies")
    rows = []
    for sampling, image, file in features:
        if (folder / file).exists():
            sampled, embedded = read_arrays(folder / file, ("seconds",))["seconds"].tolist()
            rows.append((sampling, image, sampled, embedded))
    return pandas.DataFrame(rows, columns=["sampling", "image", "sampling_seconds", "embedding_seconds"])


def _examples(folder):
    examples = []
    for path in sorted((folder / EXAMPLES).glob("*.npz"), key=lambda path: int(path.stem)):
        arrays = read_arrays(path)
        about = json.loads(str(arrays.pop("about")))
        fields = {name.removeprefix("field_"): arrays.pop(name) for name in list(arrays) if name.startswith("field_")}
        examples.append({**about, **arrays, "fields": fields})
    return examples
