"""The forms in which embeddings lie on disk."""

import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse

from patchdistill.pools.files import named_errors, stamp
from patchdistill.pools.headers import check_dtype, read_header
from patchdistill.pools.pools import Pools

_FORMS = "a .npy, .npz or .mat file, or a folder with one .npy per image"


def open_pools(path, patches_per_image=None, variable=None):
    """Find out which images a file or folder holds, without reading them.

    ======================  =======================================================================================
    `path`                  Images
    ======================  =======================================================================================
    ``.npy``                (n_images, n_patches, n_features); or 2-D, with `patches_per_image` rows for each image
    ``.npz``                one (n_patches_i, n_features) array per image; or a single array as for ``.npy``
    ``.mat``                one variable as for ``.npy``. The format is read whole: it has to fit into memory
    folder                  one ``.npy`` (n_patches_i, n_features) per image, in the order of the names
    ======================  =======================================================================================

    Parameters
    ----------
    path : str or path-like
        The file or folder.
    patches_per_image : int, default=None
        How many rows of a 2-D array make an image.
    variable : str, default=None
        Variable of a ``.mat`` file; ``"data"`` by default, as the published script calls it.

    Returns
    -------
    Pools
        The images, to be read one at a time.

    Raises
    ------
    ValueError
        If a file is damaged or holds anything but real numbers of these shapes. Nothing is ever unpickled.
    FileNotFoundError
        If there is no such file or folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from patchdistill.pools import open_pools
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "features.npy", np.ones((6, 4)))
    ...     pools = open_pools(Path(folder) / "features.npy", patches_per_image=3)
    ...     pools.names, [E.shape for E in pools.read()]
    ([0, 1], [(3, 4), (3, 4)])
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; the input is {_FORMS}.")
    if patches_per_image is not None and patches_per_image < 1:
        raise ValueError(f"patches_per_image={patches_per_image} is not valid; it must be an int of at least 1.")
    ending = "folder" if path.is_dir() else path.suffix.lower()
    if variable is not None and ending != ".mat":
        raise ValueError(f"A variable can be named for a .mat file only, and {path} is not one. Leave --variable out.")
    if ending == "folder":
        if patches_per_image is not None:
            raise ValueError(f"{path} is a folder, one file per image. Leave --patches-per-image out.")
        return _open_folder(path)
    if ending == ".npy":
        return _open_npy(path, patches_per_image)
    if ending == ".npz":
        return _open_npz(path, patches_per_image)
    if ending == ".mat":
        return _open_mat(path, "data" if variable is None else variable, patches_per_image)
    raise ValueError(f"{path} cannot be read; the input is {_FORMS}.")


def _open_folder(path):
    files = sorted((file for file in path.iterdir() if file.suffix == ".npy"), key=lambda file: file.name)
    if not files:
        pools = any(file.suffix == ".npz" for file in path.iterdir())
        remedy = " It holds .npz files; if they are pools of pixels, run `patchdistill embed` on them." if pools else ""
        raise ValueError(
            f"{path} holds no .npy file; one (n_patches, n_features) array per image is looked for.{remedy}"
        )
    shapes = []
    for file in files:
        with open(file, "rb") as stream:
            header = read_header(stream, stamp(file)[0], file)
        shapes.append(_check_matrix(header.shape, file))

    def read(start):
        for file in files[start:]:
            with named_errors(file):
                E = np.load(file, allow_pickle=False)
            yield E

    return Pools(path, [file.stem for file in files], shapes, [stamp(file) for file in files], read)


def _open_npy(path, patches_per_image):
    with open(path, "rb") as stream:
        header = read_header(stream, stamp(path)[0], path)
    return _stack(path, lambda: open(path, "rb"), header, patches_per_image)


def _open_npz(path, patches_per_image):
    with named_errors(path), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        names = [member.filename.removesuffix(".npy") for member in members]
        labels = [f"{path}, array {name!r}," for name in names]
        headers = []
        for member, label in zip(members, labels, strict=True):
            with archive.open(member) as stream:
                headers.append(read_header(stream, member.file_size, label))
    if not members:
        raise ValueError(f"{path} holds no arrays.")
    if len(members) == 1 and (len(headers[0].shape) == 3 or patches_per_image is not None):
        return _stack(path, lambda: _open_member(path, members[0]), headers[0], patches_per_image)
    if patches_per_image is not None:
        raise ValueError(f"{path} holds {len(members)} arrays, one per image. Leave --patches-per-image out.")
    shapes = [_check_matrix(header.shape, label) for header, label in zip(headers, labels, strict=True)]

    def read(start):
        with named_errors(path), np.load(path, allow_pickle=False) as arrays:
            for name in names[start:]:
                yield arrays[name]

    return Pools(path, names, shapes, [stamp(path)] * len(names), read)


@contextmanager
def _open_member(path, member):
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        yield stream


def _open_mat(path, variable, patches_per_image):
    try:
        names = [name for name, _, _ in scipy.io.whosmat(path)]
        array = scipy.io.loadmat(path, variable_names=[variable]).get(variable)
    except NotImplementedError:
        raise ValueError(
            f"{path} is in MATLAB's HDF5 format (v7.3), which is not read. In MATLAB, save it with "
            f"save('{path.name}', '{variable}', '-v7'); or read it with h5py and write it with numpy.save."
        ) from None
    except (
        Exception
    ) as error:  # in SciPy's reader a damaged file raises anything: ValueError, TypeError, zlib.error ...
        raise ValueError(f"{path} is damaged or no .mat file ({type(error).__name__}: {error}).") from error
    if array is None:
        found = ", ".join(names) if names else "none"
        raise ValueError(f"{path} has no variable {variable!r}; it has: {found}. Choose one with --variable.")
    label = f"{path}, variable {variable!r},"
    if scipy.sparse.issparse(array):
        raise ValueError(f"{label} is sparse; embeddings are dense. In MATLAB, save full({variable}).")
    if array.dtype.kind in "OV":
        raise ValueError(f"{label} is a cell array, a struct or an object; embeddings are one matrix of real numbers.")
    check_dtype(array.dtype, label)
    n_images, n, d = _stack_shape(array.shape, patches_per_image, label)

    def read(start):
        return (array[i] if array.ndim == 3 else array[i * n : (i + 1) * n] for i in range(start, n_images))

    return _numbered(n_images, n, d, path, read)


def _stack(path, open_stream, header, patches_per_image):
    """Images that lie one behind the other in one array, which is read from a stream."""
    n_images, n, d = _stack_shape(header.shape, patches_per_image, path)
    if header.fortran_order:
        raise ValueError(
            f"{path} is stored in Fortran order, which spreads every image over the whole file. "
            "Save it again: numpy.save(path, numpy.ascontiguousarray(numpy.load(path)))."
        )
    size = n * d * header.dtype.itemsize

    # Plain reads instead of a memory map: the pages of a map stay in the memory of the process.
    def read(start):
        with named_errors(path), open_stream() as stream:
            stream.seek(header.begin + start * size)
            while len(data := stream.read(size)) == size:
                yield np.frombuffer(data, header.dtype).reshape(n, d)
            raise ValueError("it became shorter while it was being read")

    return _numbered(n_images, n, d, path, read)


def _numbered(n_images, n, d, path, read):
    return Pools(path, list(range(n_images)), [(n, d)] * n_images, [stamp(path)] * n_images, read)


def _stack_shape(shape, patches_per_image, label):
    """Split the shape of an array that holds all images: number of images, of patches and of features."""
    if len(shape) == 3:
        if patches_per_image is not None:
            raise ValueError(
                f"{label} has shape {shape}: it is cut into {shape[0]} images of {shape[1]} patches already. "
                "Leave --patches-per-image out."
            )
        return shape
    if len(shape) != 2:
        raise ValueError(
            f"{label} is {len(shape)}-D; it must be (n_images, n_patches, n_features), or 2-D with --patches-per-image."
        )
    if patches_per_image is None:
        raise ValueError(
            f"{label} is 2-D, with {shape[0]} rows: say with --patches-per-image how many rows make an image "
            f"({max(shape[0], 1)} if it is one image)."
        )
    n_images, rest = divmod(shape[0], patches_per_image)
    if rest:
        raise ValueError(
            f"{label} has {shape[0]} rows, which --patches-per-image {patches_per_image} does not divide: {rest} rows "
            f"are left over after {n_images} images."
        )
    return n_images, patches_per_image, shape[1]


def _check_matrix(shape, label):
    if len(shape) != 2:
        raise ValueError(f"{label} is {len(shape)}-D, but an image is a 2-D array, (n_patches, n_features).")
    return shape
