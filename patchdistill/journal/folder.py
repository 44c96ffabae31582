"""A folder of results, one file per image, that is filled over as many runs as it takes."""

from pathlib import Path

from patchdistill.journal.files import check_parent, write_whole
from patchdistill.journal.log import RunLog


class FolderJournal:
    """A folder with one file per image, each of which is there as a whole or not at all.

    The `RunLog` ``patchdistill.jsonl`` in it tells how the files were made and from which version of each image. Used
    as a context manager; where nothing was finished, nothing is left behind.

    Parameters
    ----------
    folder : str or path-like
        The folder; it is made if it is missing.
    names : list of str
        Names of the files that belong there.
    settings : dict
        See `RunLog`.
    restart : bool, default=False
        Whether finished images are made again.

    Raises
    ------
    ValueError
        If the folder holds other files of the same kind, which would be taken for images later on; see also `RunLog`.
    NotADirectoryError
        If it is a file.
    """

    def __init__(self, folder, names, settings, restart=False):
        self.folder = Path(folder)
        check_parent(self.folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is a file; --out must be a folder.")
        endings = {Path(name).suffix for name in names}
        strangers = (
            sorted({file.name for file in self.folder.iterdir() if file.suffix in endings} - set(names))
            if self.folder.exists()
            else []
        )
        if strangers:
            raise ValueError(
                f"{self.folder} holds {strangers[0]}, which no image of the input belongs to. "
                "Remove it, or choose another --out."
            )
        self._is_new = not self.folder.exists()
        self.folder.mkdir(exist_ok=True)
        self._log = RunLog(self.folder / "patchdistill.jsonl", settings, restart)
        self._stamps = {record["file"]: record["stamp"] for record in self._log.records}

    def is_done(self, name, stamp):
        """Whether a file is there already, made from this version of its image.

        Parameters
        ----------
        name : str
            Name of the file.
        stamp : list of int
            See :func:`patchdistill.pools.stamp`.

        Returns
        -------
        bool
            False also if the image has changed since.
        """
        return self._stamps.get(name) == stamp and (self.folder / name).exists()

    def write(self, name, stamp, save):
        """Write the file of an image.

        Parameters
        ----------
        name : str
            Name of the file.
        stamp : list of int
            See :func:`patchdistill.pools.stamp`.
        save : callable
            Called with a file open for binary writing.
        """

        def write(path):
            with open(path, "wb") as stream:
                save(stream)

        write_whole(self.folder / name, write)
        self._log.append({"file": name, "stamp": stamp})

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._log.close(remove=not self._log.records)
        if self._is_new and not self._log.records:
            self.folder.rmdir()
