"""The one place that imports what scikit-learn keeps private, and the optional packages."""

import importlib

from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_parameter_constraints
from sklearn.utils.validation import _check_feature_names, _check_n_features

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "_check_feature_names",
    "_check_n_features",
    "_fit_context",
    "import_optional",
    "lazy_names",
    "validate_parameter_constraints",
]


# Projects that are called otherwise than what is imported.
_PROJECTS = {"torch": "PyTorch"}


def import_optional(name, needed_by, extra):
    """Import a package that the core does not need, or say how to get it.

    Parameters
    ----------
    name : str
        Module to import, dotted names included (``"PIL.Image"``).
    needed_by : str
        What asks for it, as the reader of the error knows it.
    extra : str
        The extra of patchdistill that installs it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = _PROJECTS.get(name, name.split(".")[0])
        raise ImportError(
            f'{needed_by} needs {package}. Install it with:\npip install "patchdistill[{extra}]"'
        ) from error


def lazy_names(package, others, names):
    """Make the ``__getattr__`` and ``__dir__`` (PEP 562) of a package some of whose names need an optional package.

    Parameters
    ----------
    package : str
        Name of the package.
    others : list of str
        Its other names.
    names : dict of str to tuple of (str, str, str)
        For each name the module that defines it, the optional package this needs, and the extra that installs it.

    Returns
    -------
    __getattr__ : callable
        Imports the module when the name is first asked for.
    __dir__ : callable
        Lists all names, for those who look.
    """

    def __getattr__(name):
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, needed, extra = names[name]
        import_optional(needed, f"{package}.{name}", extra)
        return getattr(importlib.import_module(module), name)

    def __dir__():
        return sorted([*others, *names])

    return __getattr__, __dir__
