"""What a run that was stopped goes on from: numbers as safetensors, the rest as JSON, nothing that is executed."""

import json
from pathlib import Path

from patchdistill._compat import import_optional
from patchdistill.journal.files import write_whole


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


def _plain(value):
    """JSON of NumPy's numbers and arrays."""
    return value.tolist()
