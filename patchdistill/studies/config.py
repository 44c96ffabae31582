"""A study from a YAML file: names and numbers, nothing that is executed."""

import inspect
from pathlib import Path

from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from patchdistill import datasets
from patchdistill._compat import import_optional
from patchdistill.embedding import PatchStatistics, TorchEmbedder
from patchdistill.models import BagPooling, PatchwiseRegressor
from patchdistill.panorama import FibonacciSampler, LatitudeSampler, RandomSampler, TrajectorySampler, UniformSampler
from patchdistill.sampling import GridSampler, RandomCropSampler
from patchdistill.selector import ResidualPatchSelector
from patchdistill.studies.design import Study

SAMPLERS = {
    "uniform": UniformSampler,
    "latitude": LatitudeSampler,
    "fibonacci": FibonacciSampler,
    "random": RandomSampler,
    "trajectory": TrajectorySampler,
    "flat-grid": GridSampler,
    "flat-random": RandomCropSampler,
}


def pooled_svr(C=10.0, epsilon=0.1, gamma="scale"):
    """Support vector regression of the mean and the standard deviation of an image's patches."""
    regressor = make_pipeline(BagPooling(), StandardScaler(), SVR(C=C, epsilon=epsilon, gamma=gamma))
    return TransformedTargetRegressor(regressor, transformer=StandardScaler(), check_inverse=False)


def pooled_ridge(alpha=100.0):
    """Ridge regression of the mean and the standard deviation of an image's patches."""
    return make_pipeline(BagPooling(), StandardScaler(), Ridge(alpha=alpha))


def patchwise_ridge(alpha=100.0):
    """Ridge regression of every patch; an image's score is the weighted mean of those of its patches."""
    return PatchwiseRegressor(make_pipeline(StandardScaler(), Ridge(alpha=alpha)))


def patch_cnn(max_epochs=20, lr=0.003, batch_size=4, channels=(16, 32, 64), device="cpu", random_state=0):
    """Convolutional network on the pixels of the patches, trained end to end."""
    import_optional("skorch", "The model patch-cnn", "models")
    from torch.optim import Adam

    from patchdistill.models import BagNetRegressor, PatchCNN

    network = BagNetRegressor(
        PatchCNN,
        module__channels=tuple(channels),
        dataset__field="pixels",
        optimizer=Adam,
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
        verbose=0,
    )
    return TransformedTargetRegressor(network, transformer=StandardScaler(), check_inverse=False)


MODELS = {
    "pooled-svr": pooled_svr,
    "pooled-ridge": pooled_ridge,
    "patchwise-ridge": patchwise_ridge,
    "patch-cnn": patch_cnn,
}
_ON_PIXELS = ("patch-cnn",)


def transformers_network(folder, **parameters):
    """Embedding by a network that `transformers` has saved in a folder; `parameters` are those of TorchEmbedder.

    Its weights are read from ``model.safetensors``. Nothing is downloaded, and no code of the folder is run.
    """
    transformers = import_optional("transformers", "The embedding transformers", "models")
    module = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return TorchEmbedder(module.eval(), **parameters)


EMBEDDINGS = {"statistics": PatchStatistics, "transformers": transformers_network}

READERS = {
    "cviq": datasets.read_cviq,
    "oiqa": datasets.read_oiqa,
    "mvaqd": datasets.read_mvaqd,
    "jufe": datasets.read_jufe,
    "oiq10k": datasets.read_oiq10k,
    "iqaodi": datasets.read_iqaodi,
    "livec": datasets.read_livec,
    "kadid10k": datasets.read_kadid10k,
    "koniq10k": datasets.read_koniq10k,
}

_PLAIN = ("metrics", "h", "rates", "n_seeds", "test_size", "mapping", "label")
_KEYS = ("manifest", "samplings", "embedding", "selector", "models", *_PLAIN)


def read_config(path):
    """Read a study from a YAML file.

    ::

        manifest: manifest.csv            # beside this file
        samplings:
          ERP: {sampler: uniform, n_patches: 180, patch_size: 64}
          sphere: {sampler: fibonacci, view: tangent}
        embedding: {embedding: statistics}
        selector: {normalize: columns}
        metrics: [euclidean, cosine]
        h: [10, 20]
        rates: [0.1, 0.45]
        models:
          SVR: {model: pooled-svr, C: 10}
        n_seeds: 20

    Instead of a file, ``{dataset: cviq, root: CVIQ/}`` reads a published data set; there are ``cviq``, ``oiqa``,
    ``mvaqd``, ``jufe``, ``oiq10k``, ``iqaodi``, ``livec``, ``kadid10k`` and ``koniq10k``. Paths start from the folder
    of the YAML file.

    Names in the first place of an entry (ERP, SVR) are free. Samplers are ``uniform``, ``latitude``, ``fibonacci``,
    ``random`` and ``trajectory`` for panoramas, ``flat-grid`` and ``flat-random`` for photographs. Embeddings are
    ``statistics`` and ``transformers``, which takes the ``folder`` of a saved network and the parameters of
    :class:`~patchdistill.embedding.TorchEmbedder`. Models are ``pooled-svr``, ``pooled-ridge``, ``patchwise-ridge``
    and ``patch-cnn``. All others are parameters of these, or of :class:`Study`; what is left out has its default.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Study
        What it describes.

    Raises
    ------
    ValueError
        If something in it is missing, unknown or not valid.
    ImportError
        If PyYAML is not installed.

    Examples
    --------
    >>> from patchdistill.studies import read_config
    >>> read_config("study.yaml").rates  # doctest: +SKIP
    (0.1, 0.45)
    """
    path = Path(path)
    yaml = import_optional("yaml", "read_config", "studies")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML ({error}).") from error
    try:
        return _study(config, path.parent)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _study(config, folder):
    check_keys(config, "The file", _KEYS, needed=("manifest", "samplings", "models"))
    for name in ("samplings", "models"):
        if not isinstance(config[name], dict):
            raise ValueError(f"{name} is {config[name]!r}; give a name and a mapping for each of them.")
    samplings, models = config["samplings"], config["models"]
    parameters = {name: config[name] for name in _PLAIN if name in config}
    for name in ("metrics", "h", "rates"):
        if name in parameters and not isinstance(parameters[name], list):
            raise ValueError(f"{name} is {parameters[name]!r}; give a list, [{parameters[name]}].")
    if "embedding" in config:
        parameters["embedding"] = _made(config["embedding"], "embedding", "embedding", EMBEDDINGS)
    if "selector" in config:
        check_keys(config["selector"], "selector", ResidualPatchSelector().get_params())
        parameters["selector"] = ResidualPatchSelector(**config["selector"])
    return Study(
        manifest=manifest_of(config["manifest"], folder),
        samplings={name: _made(one, f"samplings: {name}", "sampler", SAMPLERS) for name, one in samplings.items()},
        models={name: _made(one, f"models: {name}", "model", MODELS) for name, one in models.items()},
        pixels=any(one["model"] in _ON_PIXELS for one in models.values()),
        **parameters,
    )


def manifest_of(entry, folder):
    """Read the manifest that a file names.

    Parameters
    ----------
    entry : str or dict
        A table, or ``dataset`` and ``root`` of a release.
    folder : Path
        Where its paths start from.

    Returns
    -------
    DataFrame
        The manifest.

    Raises
    ------
    ValueError, FileNotFoundError
        If it is neither, or not there.
    """
    if isinstance(entry, str):
        return datasets.read_manifest(folder / entry)
    if isinstance(entry, dict) and "root" in entry:
        entry = {**entry, "root": folder / entry["root"]}
    return _made(entry, "manifest", "dataset", READERS)


def _made(entry, where, kind, makers):
    """Make what an entry names, with the parameters in it."""
    if not isinstance(entry, dict) or entry.get(kind) not in makers:
        raise ValueError(f"{where} is {entry!r}; it needs the key {kind!r}, one of {', '.join(makers)}.")
    parameters = {name: value for name, value in entry.items() if name != kind}
    maker = makers[entry[kind]]
    legal = inspect.signature(maker).parameters
    if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in legal.values()):
        check_keys(parameters, where, legal)
    return maker(**parameters)


def check_keys(entry, where, legal, needed=()):
    """Check what a part of a file is called.

    Parameters
    ----------
    entry : object
        The part.
    where : str
        Its name, for the error.
    legal : iterable of str
        Names that it may have.
    needed : iterable of str, default=()
        Names that it must have.

    Raises
    ------
    ValueError
        If it is no mapping, or has other names.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is {entry!r}; it must map names to values.")
    unknown = [name for name in entry if name not in legal]
    if unknown:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; use {', '.join(legal)}.")
    missing = [name for name in needed if name not in entry]
    if missing:
        raise ValueError(f"{where} lacks the key {missing[0]!r}; needed are {', '.join(needed)}.")
