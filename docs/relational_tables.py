"""Tables of the page "What changed, where and how much", from the files that its benchmarks wrote."""

from functools import partial

from tables import _load, _source, _table

NAME = "study_relational"
ENERGY = "study_map_energy"
MARKS = {"better": " ↑", "worse": " ↓", "undecided": ""}
CONTENT = {"leaves": "dead leaves", "photos": "photographs", "panoramas": "panoramas"}


def maps(model):
    """Accuracy of the maps of six channels."""
    results = _load(NAME)
    parts = {content: results["results"][f"maps {model} {name}"] for name, content in CONTENT.items()}
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


def network_leads():
    """By how much the network is better than the classical map."""
    results = _load(NAME)
    rows = [
        [channel, *(_interval(part[figure], sign=True, digits=3) for figure in ("r2", "sign_accuracy"))]
        for channel, part in results["results"]["leads photos"].items()
    ]
    return _table(["Channel", "Difference in R2", "in sign"], rows) + _source(NAME, results)


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


def unseen(model):
    """List what operators look like that nothing was trained with."""
    results = _load(NAME)
    rows = []
    for operator, part in results["results"][f"unseen operators {model}"].items():
        leading = sorted(part["leading"].items(), key=lambda item: -item[1])
        seen = ", ".join(f"{name} {share:.0%}" for name, share in leading)
        weakest, *_, strongest = part["mean_scores"]
        falls = f"{part['scores_fall_with_strength']:.0%}"
        rows.append([operator, seen, f"{weakest:.2f} to {strongest:.2f}", falls])
    header = ["Operator", "Strongest channel at the highest strength", "Mean score", "It falls at every step"]
    return _table(header, rows) + _source(NAME, results)


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
    """List by how much one score finds more pairs than another."""
    results = _load(NAME)
    part = results["results"]["orders"]
    rows = []
    for name, within in part["tiers"].items():
        for key in within:
            if key.startswith("less "):
                figures = (part[where][name][key] for where in ("tiers", "across_scenes"))
                rows.append([_escape(f"{name} {key}"), *(_interval(figure, sign=True) for figure in figures)])
    header = ["Difference", "Pairs of one picture", "Pairs of two pictures"]
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


def _interval(figure, sign=False, digits=2):
    value, low, high = (f"{number:{'+' if sign else ''}.{digits}f}" for number in figure)
    return f"{value} ({low} to {high})"


RELATIONAL_TABLES = {
    "relational_maps": partial(maps, "core6"),
    "relational_network": partial(maps, "network"),
    "relational_network_leads": network_leads,
    "relational_twelve": twelve,
    "relational_cross_talk": cross_talk,
    "relational_unseen": partial(unseen, "classical"),
    "relational_unseen_network": partial(unseen, "network"),
    "relational_orders": orders,
    "relational_leads": leads,
    "relational_left_out": left_out,
    "relational_opinions": opinions,
    "map_energy_opinions": partial(energies, "tid2013"),
    "map_energy_panoramas": partial(energies, "panoramas"),
}
