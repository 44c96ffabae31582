"""Print how the numbers of two result files differ: ``python benchmarks/compare.py old.json new.json``.

Numbers are matched by their names; rows of a table by what tells them apart, such as a metric or a number of workers,
whatever their order. Times, rates and sizes are printed, each with the ratio new / old; with --all, every number that
differs. Whatever else differs that could be the reason, such as the machine, is said first.
"""

import argparse
import json
import re
from pathlib import Path

UNITS = re.compile(r"(^|_)(seconds?|ms|bytes|kb|mb|gb|ratios?|speedups?)(_|$)")


def number_paths(value, path=()):
    """Every number in a tree of dicts, lists and numbers, by the names that lead to it."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from number_paths(part, (*path, name))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def align(old, new):
    """Turn lists into dicts with the same keys where they hold the same thing."""
    if isinstance(old, dict) and isinstance(new, dict):
        both = {name: align(old[name], new[name]) for name in old if name in new}
        return tuple(
            {name: both[name][i] if name in both else tree[name] for name in tree} for i, tree in enumerate((old, new))
        )
    if isinstance(old, list) and isinstance(new, list):
        names = identity(old, new)
        return align(*({row_key(row, names, i): row for i, row in enumerate(rows)} for rows in (old, new)))
    return old, new


def row_key(row, names, position):
    return ", ".join(str(row[name]) for name in names) if names else str(position)


def identity(old, new):
    """Fewest first fields that tell the rows of both tables apart, texts before numbers; none where no fields do.

    A field of numbers can only do so if one table's numbers are among the other's: what was measured is not.
    """
    rows = [*old, *new]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return []
    shared = [name for name in rows[0] if all(isinstance(row.get(name), (str, int, float)) for row in rows)]
    texts = [name for name in shared if all(isinstance(row[name], str) for row in rows)]
    numbers = [name for name in shared if name not in texts and not UNITS.search(name)]
    names = []
    for name in texts + numbers:
        found = [{row[name] for row in table} for table in (old, new)]
        if name in texts or found[0] <= found[1] or found[1] <= found[0]:
            names.append(name)
            if all(len({row_key(row, names, i) for i, row in enumerate(table)}) == len(table) for table in (old, new)):
                return names
    return []


def differing_setup(old, new):
    """What differs between two machines, and the software on them."""
    old, new = ({**setup, **setup.get("packages", {})} for setup in (old, new))
    names = [name for name in {**old, **new} if name not in ("date", "packages")]
    return [
        f"{name}: {old.get(name)!s:.80} -> {new.get(name)!s:.80}" for name in names if old.get(name) != new.get(name)
    ]


def compare(old, new, every=False):
    """Lines that tell how two results differ."""
    if old.get("benchmark") != new.get("benchmark"):
        yield f"These are two benchmarks, {old.get('benchmark')} and {new.get('benchmark')}."
    yield from (f"Not the same {line}" for line in differing_setup(old["setup"], new["setup"]))
    old, new = align(*({name: part for name, part in tree.items() if name != "setup"} for tree in (old, new)))
    old, new = dict(number_paths(old)), dict(number_paths(new))
    wanted = [path for path in old if path in new and (old[path] != new[path] if every else _has_unit(path))]
    width = max((len(_text(path)) for path in wanted), default=0)
    for path in wanted:
        ratio = f"{new[path] / old[path]:.3f}" if old[path] else "-"
        yield f"{_text(path):<{width}}  {old[path]:>12.6g}  {new[path]:>12.6g}  {ratio:>8}"
    if not wanted:
        yield "No number differs." if every else "No times, rates or sizes are in both."
    for tree, others, which in ((old, new, "old"), (new, old, "new")):
        if alone := [path for path in tree if path not in others]:
            yield f"Only in the {which} file: {len(alone)} numbers, such as {_text(alone[0])}."


def _has_unit(path):
    return any(UNITS.search(name) for name in path)


def _text(path):
    return " / ".join(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--all", action="store_true", help="print every number that differs")
    options = parser.parse_args()
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (options.old, options.new))
    print("\n".join(compare(old, new, options.all)))


if __name__ == "__main__":
    main()
