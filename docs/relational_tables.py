"""Tables of the page "What changed, where and how much", from the files that its benchmarks wrote."""

from functools import partial

from tables import _load, _source, _table

NAME = "study_relational"
ENERGY = "study_map_energy"
MARKS = {"better": " ↑", "worse": " ↓", "undecided": ""}
CONTENT = {
    "maps core6 leaves": "dead leaves",
    "maps core6 photos": "photographs",
    "maps core6 panoramas": "panoramas",
}


def maps():
    """Accuracy of the maps of six channels."""
    results = _load(NAME)
    parts = {content: results["results"][name] for name, content in CONTENT.items()}
    channels = list(next(iter(parts.values()))["r2"])
    header = ["Channel"]
    for content in parts:
        header += [f"R2, {content}", "sign", "IoU"]
    rows = []
    for channel in channels:
        row = [channel]
        for part in parts.values():
            row += [
                f"{part['r2'][channel]:.2f}",
                f"{part['sign_accuracy'][channel]:.3f}",
                f"{part['iou'][channel]:.2f}",
            ]
        rows.append(row)
    return _table(header, rows) + _source(NAME, results)


def twelve():
    """Accuracy of the maps of twelve channels."""
    results = _load(NAME)
    part = results["results"]["maps full12 photos"]
    rows = [[name, f"{part['r2'][name]:.2f}", f"{part['sign_accuracy'][name]:.3f}"] for name in part["r2"]]
    return _table(["Channel", "R2, photographs", "sign"], rows) + _source(NAME, results)


def cross_talk():
    """How much other channels see where one alone has changed."""
    results = _load(NAME)
    talk = results["results"]["maps core6 photos"]["cross_talk"]
    rows = [[changed, *(f"{value:.2f}" for value in row.values())] for changed, row in talk.items()]
    return _table(["Changed, seen as:", *talk], rows) + _source(NAME, results)


def unseen():
    """List what operators look like that nothing was trained with."""
    results = _load(NAME)
    rows = []
    for operator, part in results["results"]["unseen operators"].items():
        leading = sorted(part["leading"].items(), key=lambda item: -item[1])
        seen = ", ".join(f"{name} {share:.0%}" for name, share in leading)
        rows.append([operator, seen, f"{part['scores_fall_with_strength']:.0%}"])
    return _table(
        ["Operator", "Strongest channel at the highest strength", "Score falls at every step"], rows
    ) + _source(NAME, results)


def orders():
    """Order of versions whose order is known."""
    results = _load(NAME)
    part = results["results"]["orders"]
    rows = []
    for name, within in part["tiers"].items():
        across = part["across_scenes"][name]
        figures = (within["pair_accuracy"], within["tau_within"], across["pair_accuracy"], across["tau"])
        rows.append([_escape(name), *map(_interval, figures)])
    header = ["Score", "Pairs of one picture", "tau", "Pairs of two pictures", "tau"]
    return _table(header, rows) + _source(NAME, results)


def leads():
    """List what others lack to the score."""
    results = _load(NAME)
    part = results["results"]["orders"]
    rows = []
    for key in part["tiers"]["relational"]:
        if key.startswith("less "):
            figures = (part[where]["relational"][key] for where in ("tiers", "across_scenes"))
            rows.append([_escape(key.removeprefix("less ")), *(_interval(figure, sign=True) for figure in figures)])
    header = ["Score less", "Pairs of one picture", "Pairs of two pictures"]
    return _table(header, rows) + _source(NAME, results)


def left_out():
    """Each channel left out of both stages."""
    results = _load(NAME)
    rows = []
    for name, part in results["results"].items():
        if name.startswith("without "):
            scores = [f"{part[who]['score_at_highest_level']:.2f}" for who in _WHO]
            steps = [f"{part[who]['ladder_steps_in_order']:.0%}" for who in _WHO]
            rows.append([name.removeprefix("without "), *scores, *steps])
    header = [
        "Channel",
        "Mean score of its highest level, without it",
        "with it",
        "Steps in order, without it",
        "with it",
    ]
    return _table(header, rows) + _source(NAME, results)


_WHO = ("without", "with")


def opinions():
    """Agreement with opinion scores."""
    results = _load(NAME)
    part = results["results"]["opinions"]["all"]
    kinds = list(next(iter(part.values()))["by_type"])
    header = ["Score", "SRCC", "within pictures", *(_KINDS[kind] for kind in kinds)]
    rows = [
        [
            _escape(name),
            _interval(row["srcc"]),
            f"{row['srcc_within_scenes']:.2f}",
            *(f"{row['by_type'][kind]:.2f}" for kind in kinds),
        ]
        for name, row in part.items()
    ]
    return _table(header, rows) + _source(NAME, results)


_KINDS = {
    "1": "noise",
    "2": "color noise",
    "7": "quantization",
    "8": "blur",
    "10": "JPEG",
    "11": "JPEG 2000",
    "16": "exposure",
    "17": "contrast",
    "18": "saturation",
}


def energies(name):
    """List SRCC of full-reference models that look at kept patches, by what these were kept for."""
    results = _load(ENERGY)
    cells = {(row["model"], row["selection"], row["rate"]): row for row in results[name]["rows"]}
    rates = sorted({rate for _, _, rate in cells if rate < 1})
    rows = []
    for model in dict.fromkeys(model for model, *_ in cells):
        rows.append([model, "all patches", *[f"{cells[model, 'all patches', 1.0]['srcc']['value']:.3f}"] * len(rates)])
        for selection in dict.fromkeys(selection for _, selection, rate in cells if rate < 1):
            of_rates = [cells[model, selection, rate] for rate in rates]
            found = [f"{row['srcc']['value']:.3f}{MARKS[row.get('verdict', 'undecided')]}" for row in of_rates]
            rows.append(["", selection, *found])
    return _table(["Model", "Patches", *(f"{rate:.0%}" for rate in rates)], rows) + _source(ENERGY, results)


def _escape(name):
    """Keep bars from being read as markup."""
    return name.replace("|", "\\|")


def _interval(figure, sign=False):
    value, low, high = (f"{number:+.2f}" if sign else f"{number:.2f}" for number in figure)
    return f"{value} ({low} to {high})"


RELATIONAL_TABLES = {
    "relational_maps": maps,
    "relational_twelve": twelve,
    "relational_cross_talk": cross_talk,
    "relational_unseen": unseen,
    "relational_orders": orders,
    "relational_leads": leads,
    "relational_left_out": left_out,
    "relational_opinions": opinions,
    "map_energy_opinions": partial(energies, "tid2013"),
    "map_energy_panoramas": partial(energies, "panoramas"),
}
