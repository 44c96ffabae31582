"""YAML files that say what a script does."""

from pathlib import Path

from patchdistill._compat import import_optional


def read_checked(path, check, needed_by):
    """Read a file and check it; errors name the file.

    Parameters
    ----------
    path : path-like
        The file.
    check : callable
        Raises a ValueError where the mapping is wrong.
    needed_by : str
        The script, for the error where PyYAML is not installed.

    Returns
    -------
    dict
        A mapping of names to values.
    """
    yaml = import_optional("yaml", needed_by, "studies")
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML ({error}).") from error
    try:
        check(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def smaller(config, changes):
    """A copy of a mapping in which some values, or values of inner mappings, are others."""
    inner = {name: {**config[name], **value} for name, value in changes.items() if isinstance(value, dict)}
    return {**config, **changes, **inner}
