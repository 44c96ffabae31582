"""Output that is never half-written: a run that was killed goes on where it stopped."""

from patchdistill.journal.folder import FolderJournal
from patchdistill.journal.table import TableJournal

__all__ = ["FolderJournal", "TableJournal"]
