"""What a run that was stopped goes on from: numbers as safetensors, the rest as JSON, nothing that is executed."""

import json
import numbers
from pathlib import Path

import numpy as np

from patchdistill._compat import import_optional
from patchdistill.embedding.cache import digest
from patchdistill.journal.files import write_whole

# Patches whose pixels are compared when a run goes on; to read all of a large data set takes too long.
_N_COMPARED = 32

# Parameters that decide where a run is made and what is printed, and the encoder, whose weights count.
_NO_SETTINGS = ("encoder", "checkpoint", "device", "verbose")

# What decides the student alone: a teacher can be the teacher of several, in folders of their own.
OF_STUDENT = ("distillation", "keep")


class Checkpoint:
    """The state of a training in a folder, after its last complete epoch.

    ``<stage>.json`` names the file that holds the numbers, and is replaced when that file is complete: whenever a run
    is stopped, the two belong together.

    Parameters
    ----------
    folder : str or path-like
        Where; made if need be.
    stage : str
        What is trained; a folder can hold several.
    settings : dict
        Whatever decides the result; a state that was made with others is refused.
    """

    def __init__(self, folder, stage, settings):
        self._safetensors = import_optional("safetensors.torch", "checkpoint", "models")
        self.folder = Path(folder)
        self.stage = stage
        self.settings = json.loads(json.dumps(settings, default=_plain))
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def _record(self):
        return self.folder / f"{self.stage}.json"

    def save(self, tensors, history):
        """Replace the state.

        Parameters
        ----------
        tensors : dict of str to Tensor
            Numbers.
        history : list of dict
            What happened in each epoch so far.
        """
        file = self.folder / f"{self.stage}-{len(history):04}.safetensors"
        # Layers that share weights are stored twice: the format knows no sharing.
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_whole(file, lambda path: self._safetensors.save_file(tensors, path))
        record = {
            "stage": self.stage,
            "epoch": len(history),
            "tensors": file.name,
            "history": history,
            "settings": self.settings,
        }
        write_whole(self._record, lambda path: path.write_text(json.dumps(record, indent=1), encoding="utf-8"))
        for other in self.folder.glob(f"{self.stage}-*.safetensors"):
            if other != file:
                other.unlink()

    def load(self):
        """Read the state.

        Returns
        -------
        tensors : dict of str to Tensor
            Numbers.
        history : list of dict
            What happened in each epoch so far. Both are empty if there is no state yet.

        Raises
        ------
        ValueError
            If the state was made with other settings, or cannot be read.
        """
        if not self._record.exists():
            return {}, []
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            settings, history, file = record["settings"], record["history"], self.folder / record["tensors"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self._record} cannot be read ({error!r}). Remove {self.folder} to start anew."
            ) from error
        self._compare(settings)
        try:
            return self._safetensors.load_file(file), history
        except Exception as error:  # its errors have a type of their own
            raise ValueError(f"{file} cannot be read ({error}). Remove {self.folder} to start anew.") from error

    def _compare(self, settings):
        names = sorted({*settings, *self.settings})
        differing = [name for name in names if settings.get(name) != self.settings.get(name)]
        if differing:
            changes = ", ".join(f"{name} {settings.get(name)!r}, now {self.settings.get(name)!r}" for name in differing)
            raise ValueError(
                f"The training in {self.folder} was begun with other settings or data: {changes}. Use these again to "
                "go on with it, or another folder."
            )


def describe_run(model, network, images, labels, groups, semantics):
    """List what decides how the training of a model ends.

    Parameters
    ----------
    model : QFMRegressor
        Its parameters count, except for those of the student.
    network : QFMNetwork
        Its network before training.
    images : ImagePatches
        Images with labels.
    labels, groups : ndarray of shape (n_images,)
        Their labels and scenes.
    semantics : array-like of shape (n_images, m), or None
        What they show, as it was given.

    Returns
    -------
    dict
        By name.

    Raises
    ------
    ValueError
        If the run cannot be made twice.
    """
    if not isinstance(model.random_state, numbers.Integral):
        raise ValueError(
            f"A run with random_state={model.random_state!r} is never made twice, so that none can go on from "
            "checkpoint; pass an int."
        )
    parameters = model.get_params(deep=False)
    return {
        **{name: parameters[name] for name in parameters if name not in (*_NO_SETTINGS, *OF_STUDENT)},
        "encoder": describe_network(network.encoder),
        "images": describe_images(images),
        "labels": digest(labels)[:16],
        "groups": digest(groups)[:16],
        "semantics": None if semantics is None else digest(np.asarray(semantics))[:16],
    }


def describe_images(images):
    """Name images by the number and the weights of their patches, and the pixels of some.

    Parameters
    ----------
    images : ImagePatches
        The images.

    Returns
    -------
    str
        Changes with the images, unless only pixels change that are not looked at: those of 32 patches are.
    """
    rows = np.unique(np.linspace(0, len(images.image) - 1, _N_COMPARED).astype(int))
    return digest(images.n_patches, images.weights, *(images.read(row) for row in rows))[:16]


def describe_network(network):
    """Name a network by its layers and their weights.

    Parameters
    ----------
    network : nn.Module
        The network.

    Returns
    -------
    str
        Changes with the weights and the layers.
    """
    weights = network.state_dict()
    return digest(str(network), *weights, *(tensor.detach().cpu().double().numpy() for tensor in weights.values()))[:16]


def _plain(value):
    """JSON of NumPy's numbers and arrays."""
    return value.tolist()
