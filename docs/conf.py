import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from figures import write_figures
from tables import write_tables

write_tables(Path(__file__).parent / "generated" / "tables")
write_figures(Path(__file__).parent / "generated" / "figures")

project = "patchdistill"
author = "patchdistill developers"
copyright = "2026, patchdistill developers"
version = release = installed_version("patchdistill")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
# Tables are included by pages; the pages of the tutorials are made from the scripts.
exclude_patterns = ["_build", "generated/tables", "tutorials"]
# Every reference to a name of this package must hold; those of others would need the network to check.
nitpicky = True
_others = "numpy|scipy|sklearn|joblib|matplotlib|pandas|PIL|skimage|torch|skorch|pytest|hypothesis"
nitpick_ignore_regex = [(r"py:.*", rf"({_others})\b.*")]

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"
# The class pages list their own methods (see _templates); a second list, with what scikit-learn adds, says nothing.
numpydoc_show_class_members = False

# The tutorials are run, in the order of their numbers. How long that took is left out: a page that changes with every
# build hides the changes that matter.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "generated/tutorials",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),
    "remove_config_comments": True,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "thumbnail_size": (480, 240),
}

# The theme that comes with Sphinx: no further dependency, no script or font from elsewhere. Only the formulas load a
# script, in the reader's browser.
html_theme = "alabaster"
html_theme_options = {
    "description": "Keep the patches that matter for image quality",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "sidebar_width": "240px",
}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_show_sourcelink = False
