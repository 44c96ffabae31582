"""Train a network epoch by epoch, so that a run that was stopped ends as one that was not."""

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from patchdistill.modules.moments import join_parts, load_moments, named_moments, split_parts
from patchdistill.progress import Progress
from patchdistill.qfm.losses import consistency_loss, contrastive_loss, feature_distance, regression_loss
from patchdistill.qfm.perturbation import channel_statistics, perturb, worst_partner


@dataclass(frozen=True)
class Recipe:
    """What a network is trained for, and how; see :class:`patchdistill.qfm.QFMRegressor` for the parameters.

    A loss whose weight is 0 is not computed.
    """

    consistency: float
    contrast: float
    sparsity: float
    distillation: float
    temperature: float
    perturbation: str
    max_strength: float
    max_epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    n_iter_no_change: int
    autocast: str | None

    @classmethod
    def of(cls, model):
        """Take over the parameters of a model; what its pairing and its gate leave out has the weight 0."""
        recipe = cls(**{field.name: getattr(model, field.name) for field in fields(cls)})
        without = {"quality": {"contrast": 0.0}, "semantic": {"consistency": 0.0}, "both": {}}[model.pairing]
        return replace(recipe, **without, **({} if model.gate else {"sparsity": 0.0}))

    def ramp(self, epoch):
        """Share of the full strength in an epoch: rises over the first third of them."""
        return min(1.0, 3 * (epoch + 1) / self.max_epochs)

    def lr_at(self, epoch):
        """Learning rate of an epoch: a tenth after each third of them."""
        return self.lr * 0.1 ** (3 * epoch // self.max_epochs)


@dataclass(frozen=True)
class Samples:
    """What is learned from.

    Parameters
    ----------
    images : ImagePatches
        Patches of images.
    labels : ndarray of shape (n_images,)
        Standardized labels.
    weights : ndarray of shape (n_images,)
        How much each image counts.
    n_labelled : int
        How many of the images, from the first on, have a row in the bank.
    """

    images: object
    labels: np.ndarray
    weights: np.ndarray
    n_labelled: int


class Training:
    """A network in training.

    Parameters
    ----------
    network : QFMNetwork
        What is trained, where it is.
    recipe : Recipe
        How.
    seed : tuple of int
        Decides, with the number of the epoch, all that is drawn in it.
    preprocess : Preprocess
        Makes the input of the network.
    bank : StatisticsBank, default=None
        Partners of the images; None without consistency and contrast.
    teacher : QFMNetwork, default=None
        Whose hidden features are imitated.

    Attributes
    ----------
    history : list of dict
        Learning rate and mean losses of each epoch so far, and ``valid_loss`` where there is a validation.
    """

    def __init__(self, network, recipe, seed, preprocess, bank=None, teacher=None):
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.preprocess = preprocess
        self.bank = bank
        self.teacher = teacher
        self.history = []
        self.best = {}
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)

    def run(self, samples, validate=None, checkpoint=None, name="network", quiet=True):
        """Train to the end, from where the checkpoint is.

        Parameters
        ----------
        samples : Samples
            What is learned from.
        validate : callable, default=None
            Gives the loss of a network on images that are held out. The training ends when it has not become less for
            `n_iter_no_change` epochs, and the weights are those of the best epoch then.
        checkpoint : Checkpoint, default=None
            Where the state is kept after each epoch.
        name : str, default="network"
            What is trained, for the line of progress.
        quiet : bool, default=True
            Whether there is no such line.
        """
        if checkpoint is not None:
            self.load(*checkpoint.load())
        progress = Progress(f"Training the {name}", self.recipe.max_epochs, len(self.history), quiet, "epochs")
        while not self._is_finished():
            self.history.append(self._run_epoch(samples, len(self.history)))
            if validate is not None:
                self._keep_if_best(validate(self.network))
            if checkpoint is not None:
                checkpoint.save(self.tensors(), self.history)
            progress.step()
        if self.best:
            self.network.load_state_dict(self.best)
        progress.finish(f"{len(self.history)} epochs, loss {self.history[-1]['loss']:.4g}")

    def tensors(self):
        """Give all numbers of the state by name.

        Returns
        -------
        dict of str to Tensor
            Weights, moments of the optimizer by the names of the parameters, the bank, and the best weights.
        """
        return join_parts(
            {
                "network": self.network.state_dict(),
                "optimizer": named_moments(self.network, self.optimizer),
                "bank": {} if self.bank is None else self.bank.state_dict(),
                "best": self.best,
            }
        )

    def load(self, tensors, history):
        """Take over the state of another run; an empty one changes nothing.

        Parameters
        ----------
        tensors : dict of str to Tensor
            Of :meth:`tensors`.
        history : list of dict
            Its history.
        """
        if not history:
            return
        parts = split_parts(tensors, ("network", "optimizer", "bank", "best"))
        self.network.load_state_dict(parts["network"])
        if self.bank is not None:
            self.bank.load_state_dict(parts["bank"])
        load_moments(self.network, self.optimizer, parts["optimizer"])
        self.best = parts["best"]
        self.history = list(history)

    def _is_finished(self):
        losses = [epoch["valid_loss"] for epoch in self.history if "valid_loss" in epoch]
        waited = len(losses) - 1 - int(np.argmin(losses)) if losses else 0
        return len(self.history) >= self.recipe.max_epochs or waited >= self.recipe.n_iter_no_change

    def _keep_if_best(self, loss):
        if loss < min((epoch["valid_loss"] for epoch in self.history[:-1]), default=np.inf):
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.history[-1]["valid_loss"] = loss

    def _run_epoch(self, samples, epoch):
        """Train on all patches once; gives the row of the history."""
        image = samples.images.image
        weights = samples.images.weights * samples.weights[image]
        seed = int(np.random.SeedSequence([*self.seed, epoch]).generate_state(1)[0])
        # Everything is drawn ahead, so that a loss that is left out changes nothing in the batches.
        draws = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(image), generator=draws)
        mirrored = torch.rand(len(image), generator=draws) < 0.5
        strength = torch.rand(len(image), generator=draws) * (self.recipe.max_strength * self.recipe.ramp(epoch))
        lr = self.recipe.lr_at(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.network.train()
        where = self.preprocess.mean.device
        sums = {}
        with torch.random.fork_rng([where] if where.type == "cuda" else []):
            torch.manual_seed(seed)  # for what the encoder draws, such as dropout
            for rows in order.tensor_split(math.ceil(len(image) / self.recipe.batch_size)):
                of_rows = image[rows.numpy()]
                x = samples.images.tensor(rows.tolist(), self.preprocess)
                x = torch.where(mirrored[rows].to(where)[:, None, None, None], x.flip(-1), x)
                losses = self._step(
                    x,
                    _as(x, samples.labels[of_rows]),
                    _as(x, weights[rows.numpy()]),
                    torch.from_numpy(of_rows).to(where),
                    _as(x, strength[rows]),
                    samples.n_labelled,
                )
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + loss * len(rows)
        return {"lr": lr, **{name: total / len(image) for name, total in sums.items()}}

    def _step(self, x, y, weights, images, strength, n_labelled):
        """Train on one batch; gives its losses."""
        recipe, epoch = self.recipe, len(self.history)
        shares = {
            "regression": 1.0,
            "consistency": recipe.consistency,
            "contrast": recipe.contrast,
            "sparsity": recipe.sparsity,
            "distillation": recipe.distillation * recipe.ramp(epoch),
        }
        with torch.autocast(x.device.type, torch.bfloat16, enabled=recipe.autocast is not None):
            losses = self._losses(x, y, weights, images, strength, images < n_labelled)
        loss = sum(shares[name] * value for name, value in losses.items())
        if not torch.isfinite(loss):
            raise ValueError(
                f"The loss of epoch {epoch + 1} is {loss.item()}; lower lr ({recipe.lr}), or check the range of the "
                "encoder's input (mean, std)."
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item(), **{name: value.item() for name, value in losses.items()}}

    def _losses(self, x, y, weights, images, strength, labelled):
        tokens = self.network.encode(x)
        output = self.network.head(tokens)
        losses = {"regression": regression_loss(output.scores.to(y.dtype), y, weights)}
        if self.bank is not None:
            losses |= self._matched_losses(tokens[labelled], output, images[labelled], strength[labelled], labelled)
        if self.recipe.sparsity:
            losses["sparsity"] = output.gate.mean()
        if self.teacher is not None and self.recipe.distillation:
            with torch.no_grad():
                imitated = self.teacher(x).hidden
            losses["distillation"] = feature_distance(output.hidden, imitated, weights)
        return losses

    def _matched_losses(self, tokens, output, images, strength, labelled):
        """Losses that partners have a part in, on the images that have a row in the bank."""
        recipe, bank, losses = self.recipe, self.bank, {}
        if not len(images):
            return losses
        mean, std = channel_statistics(tokens)
        bank.update(images, mean, std, output.hidden[labelled])
        if recipe.consistency:
            partner_mean, partner_std, valid = bank.partners_of(images)
            worst = worst_partner(
                lambda moved: self.network.head(moved).scores,
                tokens,
                (mean, std),
                (partner_mean, partner_std),
                valid,
                strength,
                recipe.perturbation,
            )
            rows = torch.arange(len(images), device=images.device)
            moved = perturb(
                tokens, mean, std, partner_mean[rows, worst], partner_std[rows, worst], strength, recipe.perturbation
            )
            losses["consistency"] = consistency_loss(
                output.scores[labelled], self.network.head(moved).scores, valid.any(dim=1)
            )
        if recipe.contrast:
            losses["contrast"] = contrastive_loss(
                output.hidden[labelled],
                *bank.hidden_of(images, "partners"),
                *bank.hidden_of(images, "negatives"),
                temperature=recipe.temperature,
            )
        return losses


def _as(x, numbers):
    """Numbers in the type and place of `x`."""
    return torch.as_tensor(numbers).to(x)
