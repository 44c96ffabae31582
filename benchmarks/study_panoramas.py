"""Five samplings of 20 panoramas through three codecs: metrics, h and rates of the selection, beside random selection.

The study is the file study_panoramas.yaml, run as `patchdistill study` runs it. The panoramas are encoded as those of
the data set CVIQ were: JPEG, AVC and HEVC at eleven qualities. Labels are computed (WS-SSIM), not rated. The study goes
on where it was stopped; `patchdistill report benchmarks/.cache/study_panoramas` makes the page with all figures.
"""

import json
import threading
import time
from pathlib import Path

import yaml
from _common import arguments, real_paths, write_results
from _ladders import LADDERS, write_ladders
from _resume import CACHE
from PIL import Image

from patchdistill.datasets import make_panoramas
from patchdistill.studies import findings, read_config, run_study

CONFIG = Path(__file__).with_suffix(".yaml")
N_JOBS = 2
_HEARTBEAT = 5.0

SMOKE = {
    "samplings": {"ERP": {"sampler": "uniform", "n_patches": 8, "patch_size": 16}},
    "metrics": ["euclidean"],
    "h": [2, 3],
    "rates": [0.3, 0.6],
    "n_seeds": 2,
}


class Stopwatch(threading.Thread):
    """Write down every few seconds how long this run has lasted, so that a run that is killed counts too."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._begin, self._stopped = time.time(), threading.Event()
        self._file = folder / f"{self._begin:.0f}.json"

    def run(self):
        while not self._stopped.wait(_HEARTBEAT):
            self._write("unfinished")

    def stop(self):
        self._stopped.set()
        self.join()
        self._write("finished")

    def _write(self, state):
        self._file.write_text(json.dumps({"seconds": round(time.time() - self._begin, 1), "state": state}))


def smoke_config(folder):
    """The study in small, on synthetic panoramas."""
    references = []
    for number, scene in enumerate(make_panoramas(3, height=32)):
        references.append(folder / f"scene{number}.png")
        Image.fromarray(scene).save(references[-1])
    config = {**yaml.safe_load(CONFIG.read_text()), **SMOKE}
    config["manifest"] = str(write_ladders(folder / "ladders", references, codecs=("JPEG",), n_levels=3))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def summary(results):
    """What the tables say, as JSON can hold it."""
    cells, settings = results.cells, results.settings
    default = {name: findings.of_default(table, settings) for name, table in _tables(cells).items()}
    every = findings.compare(cells, "random")
    every = every.assign(verdict=every.apply(findings.verdict, axis=1))
    models = list(settings["models"])
    return {
        "settings": settings,
        "n_cells": results.n_cells,
        **{name: _rows(table) for name, table in default.items()},
        "every_metric_and_h_against_random": _rows(
            every.groupby(["sampling", "model", "rate", "verdict"]).size().reset_index(name="n")
        ),
        "best_after_the_fact": _rows(findings.best_after_the_fact(cells)[[*findings.CONDITION, "srcc", "plcc"]]),
        "effects": {model: _effects(cells[cells["model"] == model]) for model in models},
        "convergence": _rows(findings.convergence(results.solutions)),
        "milliseconds": {model: _rows(findings.stage_costs(results, model)) for model in models},
    }


def _tables(cells):
    columns = [*findings.CONDITION, "srcc", "srcc_sd", "plcc", "plcc_sd", "n_seeds"]
    return {
        "agreement": findings.summarize(cells)[columns],
        "against_random": findings.compare(cells, "random"),
        "against_all": findings.compare(cells, "all"),
        "smallest_rates": findings.smallest_rates(cells),
    }


def _rows(table):
    return json.loads(table.to_json(orient="records", double_precision=5))


def _effects(cells):
    effects, problem = findings.factor_effects(cells)
    if problem:
        return {"problem": problem}
    return {
        name: {key: row[key] for key in ("f", "p", "eta_squared", "omega_squared")} for name, row in effects.items()
    }


def main():
    options = arguments(__doc__).parse_args()
    if options.smoke:
        folder = options.out.parent / "panoramas"
        folder.mkdir(exist_ok=True)
        config = smoke_config(folder)
    else:
        folder, config = CACHE, CONFIG
        write_ladders(folder / "ladders", real_paths("panoramas"), n_jobs=N_JOBS)
    out = folder / "study_panoramas"
    watch = Stopwatch(folder / "study_panoramas_runs")
    watch.start()
    results = run_study(read_config(config), out, n_jobs=1 if options.smoke else N_JOBS)
    watch.stop()
    files = sorted((folder / "study_panoramas_runs").glob("*.json"))
    runs = [{"run": number, **json.loads(path.read_text())} for number, path in enumerate(files, start=1)]
    found = {"ladders": LADDERS, "n_jobs": N_JOBS, "runs": runs, **summary(results)}
    found["hours"] = round(sum(run["seconds"] for run in runs) / 3600, 3)
    print(f"{results.n_cells} models in {found['hours']} hours, over {len(runs)} runs")
    write_results("study_panoramas", found, options.out)


if __name__ == "__main__":
    main()
