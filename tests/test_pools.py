import zipfile

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from patchdistill.pools import open_pools

STACK = np.random.default_rng(0).standard_normal((5, 4, 3))


def save(folder, form, stack=STACK):
    """Write the same images in one of the forms; path and keywords for open_pools."""
    if form == "folder":
        path = folder / "features"
        path.mkdir()
        for i, E in enumerate(stack):
            np.save(path / f"{i}.npy", np.asfortranarray(E) if i % 2 else E)
        return path, {}
    if form in ("npy", "npy rows", "npy integers", "npy big-endian"):
        path, keywords = folder / "features.npy", {}
        if form == "npy rows":
            stack, keywords = stack.reshape(-1, stack.shape[2]), {"patches_per_image": stack.shape[1]}
        if form == "npy integers":
            stack = (stack * 100).astype(np.int16)
        np.save(path, stack.astype(">f8") if form == "npy big-endian" else stack)
        return path, keywords
    if form.startswith("npz"):
        path = folder / "features.npz"
        write = np.savez_compressed if "compressed" in form else np.savez
        if "one array" in form:
            write(path, stack)
        else:
            write(path, **{str(i): E for i, E in enumerate(stack)})
        return path, {}
    path = folder / "features.mat"
    rows = form == "mat rows"
    scipy.io.savemat(path, {"data": stack.reshape(-1, stack.shape[2]) if rows else stack}, do_compression=rows)
    return path, {"patches_per_image": stack.shape[1]} if rows else {}


FORMS = ["folder", "npy", "npy rows", "npy big-endian", "npz", "npz compressed", "npz one array"]
FORMS += ["npz one array compressed", "mat", "mat rows"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images_from_any_start(tmp_path, form):
    path, keywords = save(tmp_path, form)
    pools = open_pools(path, **keywords)
    assert len(pools) == 5 and pools.n_patches == [4] * 5 and pools.n_features == 3
    assert [str(name) for name in pools.names] == list("01234")
    for start in range(6):
        images = list(pools.read(start))
        assert len(images) == 5 - start
        for E, expected in zip(images, STACK[start:], strict=True):
            np.testing.assert_array_equal(E, expected)
            assert E.flags.c_contiguous


def test_integers_and_ragged_images_are_read(tmp_path):
    path, _ = save(tmp_path, "npy integers")
    assert next(open_pools(path).read()).dtype == np.int16
    np.savez(tmp_path / "ragged.npz", b=STACK[0], a=STACK[1, :2])
    pools = open_pools(tmp_path / "ragged.npz")
    assert pools.names == ["b", "a"] and pools.n_patches == [4, 2]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name in ("b.jpg", "a.png", "B", "10", "9"):
        np.save(tmp_path / f"{name}.npy", STACK[0])
    assert open_pools(tmp_path).names == sorted(["b.jpg", "a.png", "B", "10", "9"])


def test_one_array_of_one_image_in_npz(tmp_path):
    np.savez(tmp_path / "one.npz", E=STACK[0])
    assert open_pools(tmp_path / "one.npz").names == ["E"]
    assert open_pools(tmp_path / "one.npz", patches_per_image=2).n_patches == [2, 2]


def test_no_memory_is_left_mapped_or_held(tmp_path):
    path, _ = save(tmp_path, "npy", np.zeros((40, 100, 250)))
    import tracemalloc

    reader = open_pools(path).read()
    next(reader)
    tracemalloc.start()
    for _ in reader:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 100 * 250 * 8  # a few images, where the file has 40
    assert not any(isinstance(E, np.memmap) for E in open_pools(path).read())


@pytest.mark.parametrize("value, what", [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("form", ["folder", "npy", "npz", "mat rows"])
def test_numbers_that_are_not_finite_are_located(tmp_path, form, value, what):
    stack = STACK.copy()
    stack[3, 2, 1] = value
    path, keywords = save(tmp_path, form, stack)
    reader = open_pools(path, **keywords).read()
    for _ in range(3):
        next(reader)
    with pytest.raises(ValueError, match=rf"{path.name} contains {what} \(image 3, patch 2\)"):
        next(reader)


def test_images_must_agree(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.ones((2, 3)), b=np.ones((2, 4)))
    with pytest.raises(ValueError, match="Image b has 4 features, but the other images have 3"):
        open_pools(tmp_path / "d.npz")
    np.savez(tmp_path / "empty.npz", a=np.ones((2, 3)), b=np.ones((0, 3)))
    with pytest.raises(ValueError, match="Image b is empty"):
        open_pools(tmp_path / "empty.npz")
    np.save(tmp_path / "none.npy", np.ones((0, 4, 3)))
    with pytest.raises(ValueError, match=r"none.npy holds no image"):
        open_pools(tmp_path / "none.npy")
    np.save(tmp_path / "thin.npy", np.ones((2, 4, 0)))
    with pytest.raises(ValueError, match="Image 0 is empty: 4 patches of 0 features"):
        open_pools(tmp_path / "thin.npy")


ARRAYS = {
    "object": (np.array([[1, "a"], [None, 2.0]], dtype=object), "dtype object: it holds pickled"),
    "complex": (np.ones((2, 3), dtype=complex), "dtype complex128"),
    "text": (np.array([["a", "b"]]), "dtype <U1"),
    "records": (np.zeros((2, 2), dtype=[("a", float)]), "dtype"),
    "record names": (np.zeros((2, 2), dtype=[("ü€", float)]), "named fields"),
    "1-D": (np.ones(3), "is 1-D"),
    "0-D": (np.array(1.0), "is 0-D"),
    "4-D": (np.ones((1, 2, 3, 4)), "is 4-D"),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("form", ["npy", "npz", "folder"])
@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
def test_what_is_no_matrix_of_real_numbers_is_refused(tmp_path, form, kind):
    array, message = ARRAYS[kind]
    path = tmp_path / f"x.{form}"
    if form == "npz":
        np.savez(path, a=array)
    else:
        np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=message) as error:
        open_pools(tmp_path if form == "folder" else path)
    assert "x.np" in str(error.value)


@pytest.mark.parametrize("form", ["npy", "npz", "npz compressed", "npz one array", "mat", "mat rows", "folder"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_named(tmp_path_factory, form, share):
    path, keywords = save(tmp_path_factory.mktemp("truncated"), form)
    file = path / "3.npy" if form == "folder" else path
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="truncated|damaged") as error:
        list(open_pools(path, **keywords).read())
    assert str(file) in str(error.value)


@pytest.mark.parametrize("form", ["npy", "npz", "npz compressed", "npz one array compressed", "folder", "mat rows"])
@given(data=st.data())
def test_a_damaged_file_gives_numbers_or_a_value_error(tmp_path_factory, form, data):
    path, keywords = save(tmp_path_factory.mktemp("damaged"), form)
    file = path / "3.npy" if form == "folder" else path
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        images = list(open_pools(path, **keywords).read())
    except ValueError:
        return
    assert all(np.isfinite(E).all() for E in images)


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path):
    path, _ = save(tmp_path, "npy", np.zeros((5, 100, 100)))
    pools = open_pools(path)
    with open(path, "r+b") as stream:
        stream.truncate(path.stat().st_size - 10)
    with pytest.raises(ValueError, match="features.npy .*became shorter"):
        list(pools.read())
    folder, _ = save(tmp_path, "folder")
    pools = open_pools(folder)
    np.save(folder / "2.npy", np.zeros((7, 3)))
    with pytest.raises(ValueError, match="Image 2 of .* was changed"):
        list(pools.read())


def test_rows_need_patches_per_image_that_divides_them(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((10, 3)))
    with pytest.raises(ValueError, match="10 rows.*--patches-per-image"):
        open_pools(tmp_path / "rows.npy")
    with pytest.raises(ValueError, match="2 rows are left over after 2 images"):
        open_pools(tmp_path / "rows.npy", patches_per_image=4)
    with pytest.raises(ValueError, match="at least 1"):
        open_pools(tmp_path / "rows.npy", patches_per_image=0)
    scipy.io.savemat(tmp_path / "rows.mat", {"data": np.ones((10, 3))})
    with pytest.raises(ValueError, match="10 rows.*--patches-per-image"):
        open_pools(tmp_path / "rows.mat")


def test_options_that_do_not_apply_are_refused(tmp_path):
    path, _ = save(tmp_path, "npy")
    with pytest.raises(ValueError, match="cut into 5 images of 4 patches already"):
        open_pools(path, patches_per_image=4)
    with pytest.raises(ValueError, match="for a .mat file only"):
        open_pools(path, variable="data")
    folder, _ = save(tmp_path, "folder")
    with pytest.raises(ValueError, match="is a folder"):
        open_pools(folder, patches_per_image=4)
    path, _ = save(tmp_path, "npz")
    with pytest.raises(ValueError, match="holds 5 arrays"):
        open_pools(path, patches_per_image=4)


def test_fortran_order_of_many_images_is_refused_with_the_remedy(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(STACK))
    with pytest.raises(ValueError, match="Fortran order.*ascontiguousarray"):
        open_pools(tmp_path / "f.npy")


def test_mat_variables(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"features": STACK, "mos": np.ones(5)})
    with pytest.raises(ValueError, match="no variable 'data'; it has: features, mos. Choose one with --variable"):
        open_pools(path)
    assert len(open_pools(path, variable="features")) == 5
    cell = np.empty(2, dtype=object)
    cell[:] = [np.ones((2, 2)), np.ones((3, 2))]
    scipy.io.savemat(path, {"data": cell, "s": {"a": 1.0}, "sparse": scipy.sparse.eye(3).tocsc(), "c": 1j * STACK})
    for variable, message in [("data", "cell"), ("s", "struct"), ("sparse", r"full\(sparse\)"), ("c", "complex")]:
        with pytest.raises(ValueError, match=message):
            open_pools(path, variable=variable)


def test_mat_of_version_7_3_says_how_to_convert(tmp_path):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "x.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"v7\.3.*save\('x\.mat', 'data', '-v7'\)"):
        open_pools(tmp_path / "x.mat")


def test_what_is_not_there_or_not_known(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npy does not exist"):
        open_pools(tmp_path / "absent.npy")
    (tmp_path / "x.txt").write_text("1 2")
    with pytest.raises(ValueError, match="x.txt cannot be read; the input is a .npy"):
        open_pools(tmp_path / "x.txt")
    with pytest.raises(ValueError, match="holds no .npy file"):
        open_pools(tmp_path)
    np.savez(tmp_path / "pool.npz", pixels=np.zeros((1, 16, 16, 3)))
    with pytest.raises(ValueError, match="holds no .npy file.*patchdistill embed"):
        open_pools(tmp_path)
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(ValueError, match="holds no arrays"):
        open_pools(tmp_path / "empty.npz")
