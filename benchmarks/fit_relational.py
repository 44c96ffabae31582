"""Fit what the package ships for relational quality: classical maps of six and of twelve channels, and the scores.

    python benchmarks/fit_relational.py

Everything is learned from dead leaves, so that the files can be made again anywhere; no picture and no opinion of
anybody is in them. `calibrate_severity.py` comes first, and `train_relational.py`, which makes the network.
"""

import argparse
import json
import time
from pathlib import Path

import patchdistill
from patchdistill.relational import ClassicalRelationalMap, DistortionEngine, RelationalMapNet, RelationalScorer

FOLDER = Path(patchdistill.__file__).parent / "relational" / "data"
COMMAND = "python benchmarks/fit_relational.py"
N_PAIRS = {"core6": 800, "full12": 1600}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few small pictures, to see that it runs")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    arguments = parser.parse_args()
    maps = {}
    for channels, n_pairs in N_PAIRS.items():
        start = time.perf_counter()
        n_pairs = 10 if arguments.smoke else n_pairs
        model = ClassicalRelationalMap(DistortionEngine(channels, random_state=1), n_pairs=n_pairs, n_jobs=-1)
        maps[channels] = model.fit()
        model.save(arguments.out / f"{channels}.npz")
        print(f"{channels}: {n_pairs} pairs in {time.perf_counter() - start:.1f} s")
    for name, model in (("classical", maps["core6"]), ("network", RelationalMapNet.pretrained())):
        start = time.perf_counter()
        scorer = RelationalScorer(model, n_pictures=4 if arguments.smoke else 96).fit()
        state = {"made by": COMMAND, "version": patchdistill.__version__, **scorer.to_dict()}
        (arguments.out / f"scorer_{name}.json").write_text(json.dumps(state) + "\n")
        taken = f"{time.perf_counter() - start:.1f} s"
        print(f"score, {name}: {scorer.optimality_:.1e} from the optimum, in {taken}")


if __name__ == "__main__":
    main()
