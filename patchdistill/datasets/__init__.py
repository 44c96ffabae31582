"""Data sets of image quality as one table, readers for published ones, and pictures that are made."""

from patchdistill.datasets._checks import MOS_KINDS
from patchdistill.datasets.confound import make_semantic_confound
from patchdistill.datasets.cviq import read_cviq
from patchdistill.datasets.cviq_like import make_cviq_like
from patchdistill.datasets.flat import read_kadid10k, read_koniq10k, read_livec
from patchdistill.datasets.folder import read_folder
from patchdistill.datasets.iqaodi import read_iqaodi
from patchdistill.datasets.jufe import read_jufe, read_oiq10k
from patchdistill.datasets.leaves import dead_leaves
from patchdistill.datasets.manifest import COLUMNS, check_manifest, make_manifest, read_manifest, write_manifest
from patchdistill.datasets.mvaqd import read_mvaqd
from patchdistill.datasets.oiqa import read_oiqa
from patchdistill.datasets.synthetic import make_panoramas

__all__ = [
    "COLUMNS",
    "MOS_KINDS",
    "check_manifest",
    "dead_leaves",
    "make_cviq_like",
    "make_manifest",
    "make_panoramas",
    "make_semantic_confound",
    "read_cviq",
    "read_folder",
    "read_iqaodi",
    "read_jufe",
    "read_kadid10k",
    "read_koniq10k",
    "read_livec",
    "read_manifest",
    "read_mvaqd",
    "read_oiq10k",
    "read_oiqa",
    "write_manifest",
]
