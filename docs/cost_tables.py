"""Tables of the page "What a selection costs, end to end"."""

from tables import _load, _source, _table


def end_to_end():
    """Compare what a network costs and scores on all patches, on selected ones and on random ones."""
    results = _load("study_end_to_end")
    rows = []
    for variant, share in results["share_of_all_patches"].items():
        srcc = results["srcc"].get(variant)
        rows.append(
            [
                variant,
                "as above" if srcc is None else _srcc(srcc),
                *(f"{share[phase]:.1%}" for phase in ("training and inference", "training", "inference")),
            ]
        )
    operations = results["gflop_per_image"]["all patches"]["inference of model"] / results["n_patches"]
    text = (
        f"The network takes {1e3 * operations:.0f} million operations a patch. "
        f"{results['n_images']} versions of {results['n_scenes']} panoramas, {results['n_patches']} patches each, "
        f"{results['n_epochs']} epochs; cost of {results['n_training_images']} images in training and "
        f"{results['n_test_images']} in inference:\n\n"
    )
    header = ["Patches", "SRCC", "Cost", "in training", "in inference"]
    return text + _table(header, rows) + _source("study_end_to_end", results)


def _srcc(row):
    if row.get("srcc_sd") is None:
        return f"{row['srcc']:.3f}"
    seeds = row["srcc_of_seeds"]
    return f"{row['srcc']:.3f} ± {row['srcc_sd']:.3f} ({len(seeds)} seeds, {min(seeds):.3f} to {max(seeds):.3f})"


def large_models():
    """Compare the inference of networks of the size that is used."""
    results = _load("bench_large_models")
    rows = []
    for name, account in ((name, value) for name, value in results.items() if _is_account(value)):
        for variant, share in account["share_of_all_patches"].items():
            stages = [cost for cost in account["stages"] if cost["variant"] == variant]
            seconds = {cost["stage"]: cost["seconds"] / results["n_pictures"] for cost in stages}
            parts = [
                f"{seconds[stage]:.2f}" if stage in seconds else "" for stage in ("embedding", "selection", "model")
            ]
            rows.append([name, variant, *parts, f"{share:.1%}"])
    text = f"Seconds per picture of {results['n_patches']} patches, {results['device']}:\n\n"
    header = ["Network", "Patches", "Embedding", "Selection", "Network's time", "Cost"]
    return text + _table(header, rows) + _source("bench_large_models", results)


def _is_account(value):
    return isinstance(value, dict) and "share_of_all_patches" in value


COST_TABLES = {"end_to_end": end_to_end, "large_models": large_models}
