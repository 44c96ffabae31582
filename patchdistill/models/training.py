"""Networks that learn from the patches of images, as scikit-learn regressors, trained by skorch."""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch import NeuralNetRegressor
from skorch.utils import is_dataset

from patchdistill.models.datasets import BagDataset, pad_collate
from patchdistill.models.inputs import check_labels
from patchdistill.modules.devices import check_device
from patchdistill.modules.layers import SCORES, one_per_row, tensor_of


class BagNetRegressor(NeuralNetRegressor):
    """Train a network on images with patches: :class:`skorch.NeuralNetRegressor` with our data set and batches.

    Everything skorch has works: callbacks, early stopping, checkpoints, learning rates, ``device="cuda"``. What is
    different from its defaults: images are read by :class:`BagDataset` and batched by :func:`pad_collate`; labels are
    one number per image, (n_images,), and so are predictions; training images are shuffled; no part of them is set
    aside for validation unless `train_split` says so, since versions of one scene must not be on both sides;
    `random_state` decides everything that is drawn; a loss or a score that is not finite is an error.

    Parameters
    ----------
    module : class of nn.Module, or nn.Module
        The network: called with ``patches`` and ``mask``, see :func:`pad_collate`, it returns one score per image,
        (n_images,) or (n_images, 1). :class:`PatchCNN`, :class:`PatchTransformer`, or any network that scores single
        patches in :class:`PatchMean`.
    dataset : class, default=BagDataset
        Its parameters are ``dataset__field``, ``dataset__weights`` and ``dataset__dtype``.
    train_split : callable or None, default=None
        What is set aside for validation, as in skorch. With ``skorch.dataset.ValidSplit(GroupKFold(5))`` pass the
        scenes to `fit` as `groups`.
    random_state : int, RandomState instance or None, default=0
        Of the first weights, the order of the images, and dropout. None leaves PyTorch's own generator in charge.
    **kwargs : dict
        All other parameters of :class:`skorch.NeuralNetRegressor`: ``lr``, ``max_epochs``, ``batch_size`` (images),
        ``optimizer``, ``callbacks``, ``module__...``.

    See Also
    --------
    sklearn.compose.TransformedTargetRegressor : Around this, standardizes the labels, without which opinion scores of
        0 to 100 are learned slowly.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.models import BagNetRegressor, PatchTransformer
    >>> rng = np.random.default_rng(0)
    >>> images = [rng.normal(size=(n, 7)) for n in (5, 4, 6)]
    >>> net = BagNetRegressor(PatchTransformer, module__n_features=7, max_epochs=2, verbose=0)
    >>> net.fit(images, [0.1, 0.5, 0.9]).predict(images).shape
    (3,)
    """

    def __init__(
        self,
        module,
        *,
        dataset=BagDataset,
        train_split=None,
        iterator_train__collate_fn=pad_collate,
        iterator_train__shuffle=True,
        iterator_valid__collate_fn=pad_collate,
        random_state=0,
        **kwargs,
    ):
        self.random_state = random_state
        super().__init__(
            module,
            dataset=dataset,
            train_split=train_split,
            iterator_train__collate_fn=iterator_train__collate_fn,
            iterator_train__shuffle=iterator_train__shuffle,
            iterator_valid__collate_fn=iterator_valid__collate_fn,
            **kwargs,
        )

    def fit(self, X, y=None, groups=None, **fit_params):
        """Train from the start.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), array of shape (n_images, n_patches, ...), or \
torch Dataset
            Images; a data set of PyTorch brings its labels.
        y : array-like of shape (n_images,), default=None
            Labels.
        groups : array-like of shape (n_images,), default=None
            Scene of each image, for a `train_split` that needs it.
        **fit_params : dict
            Passed on to the module.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        self._groups = groups
        try:
            with _seeded(self.random_state, self.device):
                return super().fit(X, y, **fit_params)
        finally:
            self._groups = None

    def initialize(self):
        """Make the module and all that trains it; called by skorch."""
        if self.device is not None:
            check_device(self.device)
        return super().initialize()

    def check_data(self, X, y):
        """Check the labels; called by skorch."""
        if not is_dataset(X):
            check_labels(y, len(X))

    def get_split_datasets(self, X, y=None, **fit_params):
        """Set images aside for validation; called by skorch."""
        if getattr(self, "_groups", None) is not None:
            fit_params = {**fit_params, "groups": self._groups}
        return super().get_split_datasets(X, y, **fit_params)

    def infer(self, x, **fit_params):
        """Run the module on a batch; called by skorch."""
        n_images = len(x["patches"] if isinstance(x, dict) else x)
        return one_per_row(tensor_of(super().infer(x, **fit_params), SCORES), n_images, "images")

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the loss of a batch; called by skorch."""
        y_true = one_per_row(y_true, len(y_pred), "labels").to(y_pred.dtype)
        loss = super().get_loss(y_pred, y_true, X=X, training=training)
        if not torch.isfinite(loss):
            raise ValueError(
                f"The loss is {float(loss.detach())}; lower lr ({self.lr}), or standardize features and labels."
            )
        return loss

    def predict(self, X):
        """Score images.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), array of shape (n_images, n_patches, ...), or \
torch Dataset
            Images.

        Returns
        -------
        ndarray of shape (n_images,)
            Scores.
        """
        scores = self.predict_proba(X)
        if not np.isfinite(scores).all():
            raise ValueError(f"The module's score of image {(~np.isfinite(scores)).argmax()} is not finite.")
        return scores


@contextmanager
def _seeded(random_state, device):
    """Let PyTorch draw from a generator of its own, and leave the one it had as it was."""
    if random_state is None:
        yield
        return
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    on_gpu = device is not None and torch.device(device).type == "cuda" and torch.cuda.is_available()
    with torch.random.fork_rng([device] if on_gpu else []):
        torch.manual_seed(seed)
        yield
