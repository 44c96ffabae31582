"""Features from any network: a module, a layer of it, or a function."""

import numbers

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator

from patchdistill._compat import Interval, StrOptions, import_optional, validate_parameter_constraints
from patchdistill.embedding.cache import FeatureCache, digest
from patchdistill.embedding.pools import read_pools
from patchdistill.images import check_pixels
from patchdistill.sampling import StatelessBagMixin

# Parameters of what happens to the patches of one image.
_PARAMETER_CONSTRAINTS = {
    "module": [callable],
    "layer": [str, None],
    "pooling": [StrOptions({"mean", "max", "cls"})],
    "size": "no_validation",  # Preprocess has one message for all its forms
    "mean": "no_validation",
    "std": "no_validation",
    "channels_last": ["boolean"],
    "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
    "device": "no_validation",  # only PyTorch knows its devices
    "autocast": [StrOptions({"bfloat16", "float16"}), None],
}

# What decides the features, besides the module and the patches.
_RECIPE = ("layer", "pooling", "size", "mean", "std", "channels_last", "autocast")


def embed_patches(
    patches,
    module,
    layer=None,
    pooling="mean",
    *,
    size=None,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    channels_last=False,
    batch_size=64,
    device=None,
    autocast=None,
):
    """Describe the patches of one image by what a layer of a network makes of them.

    Parameters
    ----------
    patches : array-like of shape (n_patches, height, width, 3)
        Pixels: uint8, or float in [0, 1].
    module : nn.Module or callable
        The network: maps (n, 3, height, width) to features (n, d), tokens (n, n_tokens, d), maps (n, d, height, width),
        or what the models of `transformers` return, whose ``last_hidden_state`` is taken, or else ``logits``. It is run
        in evaluation mode and without gradients, and is afterwards as it was.
    layer : str, default=None
        Name of the layer whose output is wanted, as in ``module.named_modules()``; layers behind it are not run. None
        is the output of the network.
    pooling : {"mean", "max", "cls"}, default="mean"
        What is made of tokens or maps: their mean, their maximum, or the first token.
    size : int or tuple of int, default=None
        Side, or height and width, that patches are resized to; None leaves them as they are.
    mean, std : sequence of 3 float, default=(0, 0, 0) and (1, 1, 1)
        Subtracted from, and divided out of, the channels in [0, 1].
    channels_last : bool, default=False
        Whether the layer's maps are (n, height, width, d).
    batch_size : int, default=64
        Most patches that are run at a time, which bounds the memory.
    device : str or torch.device, default=None
        Where to run: ``"cpu"``, ``"cuda"``. The module is moved there, and back. None is where it is.
    autocast : {"bfloat16", "float16"} or None, default=None
        Type of automatic mixed precision.

    Returns
    -------
    ndarray of float32 or float64, shape (n_patches, n_features)
        Features; float64 if the module computes in it.

    Raises
    ------
    ValueError, TypeError
        If a parameter, the patches or the output of the module are not valid: a layer that is not there, features that
        are not finite or not one row per patch.
    ImportError
        If PyTorch is not installed.

    See Also
    --------
    TorchEmbedder : The same for many images.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from patchdistill.embedding import embed_patches
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU())
    >>> patches = np.zeros((5, 32, 32, 3), dtype=np.uint8)
    >>> embed_patches(patches, network).shape, embed_patches(patches, network, layer="1").shape
    ((5, 16), (5, 8))
    """
    parameters = dict(locals())
    del parameters["patches"]
    validate_parameter_constraints(_PARAMETER_CONSTRAINTS, parameters, caller_name="embed_patches")
    return _embed(check_pixels(patches, 0, ndim=4), 0, **parameters)


class TorchEmbedder(StatelessBagMixin, BaseEstimator):
    """Embed patches by any network: a layer of a module, pooled to one row per patch.

    Parameters
    ----------
    module : nn.Module or callable
        The network: maps (n, 3, height, width) to features (n, d), tokens (n, n_tokens, d), maps (n, d, height, width),
        or what the models of `transformers` return, whose ``last_hidden_state`` is taken, or else ``logits``. It is run
        in evaluation mode and without gradients, and is afterwards as it was.
    layer : str, default=None
        Name of the layer whose output is wanted, as in ``module.named_modules()``; layers behind it are not run. None
        is the output of the network.
    pooling : {"mean", "max", "cls"}, default="mean"
        What is made of tokens or maps: their mean, their maximum, or the first token.
    size : int or tuple of int, default=None
        Side, or height and width, that patches are resized to; None leaves them as they are.
    mean, std : sequence of 3 float, default=(0, 0, 0) and (1, 1, 1)
        Subtracted from, and divided out of, the channels in [0, 1]. Networks trained on ImageNet usually have
        (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
    channels_last : bool, default=False
        Whether the layer's maps are (n, height, width, d).
    batch_size : int, default=64
        Most patches that are run at a time, which bounds the memory. The patches of an image are run without those of
        others, so that no image has an influence on another's features.
    device : str or torch.device, default=None
        Where to run: ``"cpu"``, ``"cuda"``. The module is moved there, and back. None is where it is.
    autocast : {"bfloat16", "float16"} or None, default=None
        Type of automatic mixed precision.
    cache : str or path-like, default=None
        Folder where features are kept, one ``.npy`` per image, so that the same patches need not be embedded twice,
        and a run that was stopped goes on. A file is found by the content of the patches, the weights and the layers
        of the module, what the module makes of a small test picture, and the parameters. For modules alone: the
        content of a function cannot be told.
    verbose : int, default=0
        Progress over images, as in :class:`joblib.Parallel`.

    See Also
    --------
    embed_patches : The same for one image.
    PatchStatistics : Features that need no network.
    load_weights : Weights from a local file.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from patchdistill.embedding import TorchEmbedder
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
    >>> pools = [np.zeros((n, 32, 32, 3), dtype=np.uint8) for n in (6, 4)]
    >>> TorchEmbedder(network).transform(pools)
    PatchBags(n_images=2, n_patches=4 to 6, patch_shape=(8,), fields=['patch_index', 'pixels'])
    """

    _parameter_constraints = {**_PARAMETER_CONSTRAINTS, "cache": "no_validation", "verbose": ["verbose"]}

    def __init__(
        self,
        module,
        layer=None,
        pooling="mean",
        *,
        size=None,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        channels_last=False,
        batch_size=64,
        device=None,
        autocast=None,
        cache=None,
        verbose=0,
    ):
        self.module = module
        self.layer = layer
        self.pooling = pooling
        self.size = size
        self.mean = mean
        self.std = std
        self.channels_last = channels_last
        self.batch_size = batch_size
        self.device = device
        self.autocast = autocast
        self.cache = cache
        self.verbose = verbose

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : PatchBags of pixels, list of array of shape (n_patches_i, height, width, 3), or array of shape \
(n_images, n_patches, height, width, 3)
            Pools of patches: uint8, or float in [0, 1]. Of pictures, :class:`patchdistill.sampling.GridSampler` makes
            pools.

        Returns
        -------
        PatchBags
            Features (n_patches_total, n_features), with the pixels as the field ``pixels``, and all fields and ids of
            the input.

        Raises
        ------
        ValueError, TypeError
            As :func:`embed_patches`, naming the image.
        """
        self._validate_params()
        parameters = {name: getattr(self, name) for name in _PARAMETER_CONSTRAINTS}
        pools = read_pools(X)
        cache = None if self.cache is None else FeatureCache(self.cache, _recipe(pools[0], parameters))
        embed = Parallel(n_jobs=1, verbose=self.verbose)
        features = embed(delayed(_embed_once)(pool, index, cache, parameters) for index, pool in enumerate(pools))
        return pools.with_values(np.concatenate(features), pixels=pools.values)


def _embed_once(pool, index, cache, parameters):
    pool = check_pixels(pool, index, ndim=4)
    if cache is None:
        return _embed(pool, index, **parameters)
    return cache.get(pool, lambda patches: _embed(patches, index, **parameters))


def _embed(patches, index, *, module, layer, pooling, size, mean, std, channels_last, batch_size, device, autocast):
    """Features of one image's checked patches."""
    torch = import_optional("torch", "TorchEmbedder", "torch")
    from patchdistill.modules.layers import FEATURES, output_of, pool, tensor_of
    from patchdistill.modules.preprocessing import Preprocess
    from patchdistill.modules.running import as_tensor, in_batches, inference

    run = output_of(module, layer)
    with inference(module, device, autocast) as (where, dtype):
        preprocess = Preprocess(size, mean, std, dtype=dtype).to(where)

        def embed(batch):
            rows = pool(tensor_of(run(preprocess(batch.to(where))), FEATURES), pooling, channels_last)
            return rows if rows.dtype == torch.float64 else rows.float()

        features = in_batches(embed, as_tensor(patches), batch_size).numpy()
    if features.shape[0] != len(patches):
        raise ValueError(
            f"The module returned {len(features)} rows for the {len(patches)} patches of image {index}; it must return "
            "one per patch, in the order of the patches."
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"The features of image {index}, patch {finite.argmin()} are not finite. Check the weights and the input "
            "range (mean, std); with autocast, try the other type or None."
        )
    return features


def _recipe(pool, parameters):
    """Text that changes with everything but the patches that decides the features."""
    pool = check_pixels(pool, 0, ndim=4)
    module = parameters["module"]
    torch = import_optional("torch", "TorchEmbedder", "torch")
    if not isinstance(module, torch.nn.Module):
        raise ValueError(
            f"cache cannot be used with module={module!r}, a {type(module).__name__}, whose content cannot be told; "
            "pass an nn.Module, or cache=None."
        )
    kept = {**dict(module.named_buffers()), **module.state_dict()}  # the state leaves out buffers of some kinds
    tensors = [(name, value) for name, value in kept.items() if isinstance(value, torch.Tensor)]
    names = (f"{name} {value.dtype} {tuple(value.shape)}" for name, value in tensors)
    weights = digest(*names, *(_bytes(value, torch) for _, value in tensors))
    # What the code of `forward` does shows in its results alone. Rounded numbers are the same on every device; the
    # last one depends on the order of the features.
    test = np.random.default_rng(0).integers(0, 256, (2, *pool.shape[1:]), dtype=np.uint8)
    features = _embed(test, 0, **parameters)
    waves = np.cos(np.arange(features.shape[1]))
    results = [f"{number:.3g}" for number in (features.mean(), features.std(), (features @ waves).mean())]
    chosen = {name: parameters[name] for name in _RECIPE}
    chosen |= {name: np.asarray(parameters[name], dtype=float).tolist() for name in ("mean", "std")}
    return f"{type(module)} {module} {chosen} {weights} {features.shape[1]} {results}"


def _bytes(tensor, torch):
    """Give the bytes of a tensor; NumPy does not know all of PyTorch's types."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
