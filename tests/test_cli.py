import csv
import gc
import inspect
import math
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from patchdistill import ResidualPatchSelector, __version__, select_patches
from patchdistill.cli import main
from patchdistill.cli import select as select_command
from patchdistill.cli.parallel import in_order

RNG = np.random.default_rng(0)
STACK = RNG.standard_normal((6, 8, 12)).astype(np.float32)


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, STACK)
    return path


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "table.csv"


def run(*arguments):
    """Exit code of the command."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as error:
        return error.code


def read(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def expected(names, images, **parameters):
    """What the table has to hold, from select_patches alone."""
    table = []
    for name, E in zip(names, images, strict=True):
        s = select_patches(E, **parameters)
        rank = {patch: rank for rank, patch in enumerate(s.ranking.tolist())}
        weight = dict(zip(s.indices.tolist(), s.weights.tolist(), strict=True))
        gap = s.solution.dual_gap / s.solution.objective if s.solution.objective else 0.0
        table += [
            {
                "image": str(name),
                "patch": str(patch),
                "score": repr(float(s.scores[patch])),
                "rank": str(rank[patch]),
                "kept": "true" if patch in s.indices else "false",
                "weight": repr(weight.get(patch, 0.0)),
                "outlier": "true" if patch in s.outliers else "false",
                "gap": repr(float(gap)),
            }
            for patch in range(len(E))
        ]
    return table


def error_of(capsys, code, *arguments):
    """The one line of a command that fails."""
    assert run(*arguments) == code
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("patchdistill: error: ")
    return printed.err


# The table


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_table_is_what_select_patches_says(features, out, n_jobs):
    assert run("select", features, "--out", out, "--n-jobs", n_jobs, "--quiet") == 0
    assert read(out) == expected(range(6), STACK)
    assert [path.name for path in out.parent.iterdir()] == ["table.csv"]


ALTERNATIVES = [
    ("--rate 3", {"rate": 3}),
    ("--rate auto", {"rate": "auto"}),
    ("--rate 1", {"rate": 1}),
    ("--rate 1.0", {"rate": 1.0}),
    ("--coverage none --h 2 --metric manhattan", {"coverage": None, "h": 2, "metric": "manhattan"}),
    ("--coverage none --keep high", {"coverage": None, "keep": "high"}),
    ("--outlier-threshold 0.5", {"outlier_threshold": 0.5}),
    ("--outlier-threshold inf", {"outlier_threshold": np.inf}),
    ("--alpha 0.3 --beta 0.2 --bandwidth 2", {"alpha": 0.3, "beta": 0.2, "bandwidth": 2.0}),
    ("--normalize columns --tol 1e-6", {"normalize": "columns", "tol": 1e-6}),
    ("--normalize none --max-iter 700", {"normalize": None, "max_iter": 700}),
    ("--solver published --random-state 3", {"solver": "published", "random_state": 3}),
]


@pytest.mark.parametrize("options, parameters", ALTERNATIVES, ids=[options for options, _ in ALTERNATIVES])
def test_every_option_arrives(features, out, options, parameters):
    assert run("select", features, "--out", out, "--quiet", *options.split()) == 0
    assert read(out) == expected(range(6), STACK, **parameters)


def test_no_parameter_of_a_selection_is_missing():
    taken = set(select_command._PARAMETERS)
    assert set(inspect.signature(select_patches).parameters) - taken == {
        "E",
        "backend",  # the command reads one image after the other, and batches are PyTorch's gain
        "device",
        "embedding",
        "memory",
        "n_jobs",
        "verbose",
    }
    assert taken < set(ResidualPatchSelector().get_params())


def test_an_outlier_is_marked_and_nothing_stands_for_it(tmp_path, out):
    E = np.abs(np.random.default_rng(1).normal(1, 0.1, (40, 20)))
    E[7] = np.eye(20)[3] * 9
    np.save(tmp_path / "x.npy", E[None])
    assert run("select", tmp_path / "x.npy", "--out", out, "--rate", 4, "--quiet") == 0
    table = read(out)
    assert [row["patch"] for row in table if row["outlier"] == "true"] == ["7"]
    assert (table[7]["kept"], table[7]["weight"], table[7]["rank"]) == ("false", "0.0", "39")
    assert [row["kept"] == "true" for row in table] == [float(row["weight"]) > 0 for row in table]
    assert sum(float(row["weight"]) for row in table) == pytest.approx(1)


names_of_images = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)
shapes = st.lists(st.integers(1, 7), min_size=1, max_size=3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@settings(max_examples=15)
@given(names=st.data(), sizes=shapes, d=st.integers(1, 6), rate=st.sampled_from([0.01, 0.5, 1.0, 1, 3]))
def test_any_images_under_any_names(tmp_path_factory, names, sizes, d, rate):
    rng = np.random.default_rng(sum(sizes) + d)
    images = [rng.integers(-2, 3, (n, d)).astype(float) for n in sizes]
    names = names.draw(st.lists(names_of_images, min_size=len(sizes), max_size=len(sizes), unique=True))
    folder = tmp_path_factory.mktemp("any")
    np.savez(folder / "x.npz", **{f"file{i}": E for i, E in enumerate(images)})
    pools = select_command.open_pools(folder / "x.npz")
    pools.names = names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select_command, "open_pools", lambda *_: pools)
        for ending in ("csv", "parquet"):
            assert run("select", folder / "x.npz", "--out", folder / f"t.{ending}", "--rate", rate, "--quiet") == 0
    table = expected(names, images, rate=rate)
    assert read(folder / "t.csv") == table
    parquet = pytest.importorskip("pyarrow.parquet").read_table(folder / "t.parquet").to_pylist()
    text = {str: str, int: str, float: repr, bool: lambda value: str(value).lower()}
    assert table == [{name: text[type(value)](value) for name, value in row.items()} for row in parquet]


def test_parquet_has_types_and_bounded_row_groups(features, out, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(select_command, "_ROW_GROUP_BYTES", 600)
    assert run("select", features, "--out", out.with_suffix(".parquet"), "--quiet") == 0
    file = parquet.ParquetFile(out.with_suffix(".parquet"))
    types = ["int64", "int64", "double", "int64", "bool", "double", "bool", "double"]
    assert [str(field.type) for field in file.schema_arrow] == types
    assert file.num_row_groups > 2 and file.metadata.num_rows == 48


def test_a_folder_names_its_images(tmp_path, out):
    for i, name in enumerate(["b.jpg", "a"]):
        np.save(tmp_path / f"{name}.npy", STACK[i])
    assert run("select", tmp_path, "--out", out, "--quiet") == 0
    assert read(out) == expected(["a", "b.jpg"], STACK[[1, 0]])


def test_rows_of_mat_as_the_published_script_has_them(tmp_path, out):
    scipy.io.savemat(tmp_path / "x.mat", {"data": STACK.reshape(-1, 12)})
    assert run("select", tmp_path / "x.mat", "--patches-per-image", 8, "--out", out, "--quiet") == 0
    assert read(out) == expected(range(6), STACK)


def test_one_warning_for_all_images_that_did_not_converge(features, out, capsys):
    options = ["select", features, "--out", out, "--max-iter", 1, "--tol", 1e-9, "--rate", 20]
    assert run(*options, "--quiet") == 0
    warnings = capsys.readouterr().err.splitlines()
    worst = max(float(row["gap"]) for row in read(out))
    assert len(warnings) == 2 and all(line.startswith("patchdistill: warning: ") for line in warnings)
    assert f"6 of 6 images did not reach tol=1e-09 in 1 iterations (largest gap {worst:.1e}" in warnings[0]
    assert "rate=20 asks for more patches than 6 of 6 images have (image 0 has 8)" in warnings[1]


def test_quiet_is_quiet_and_otherwise_there_is_a_summary(features, out, capsys):
    assert run("select", features, "--out", out, "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert run("select", features, "--out", out, "--restart") == 0
    assert f"select: 6 images, 48 patches -> {out}" in capsys.readouterr().err


# What is not accepted


def broken(kind, folder):
    """Arguments of a command that has to fail."""
    path = folder / "x.npy"
    stack = STACK.copy()
    if kind in ("NaN", "inf"):
        stack[2, 5, 0] = np.nan if kind == "NaN" else np.inf
    elif kind == "empty image":
        return save_images(folder, STACK[0], STACK[1, :0])
    elif kind == "different d":
        return save_images(folder, STACK[0], STACK[1, :, :5])
    elif kind == "pickled npz":
        np.savez(folder / "x.npz", a=np.array([[1, None]], dtype=object))
        return [folder / "x.npz"]
    elif kind in ("no variable", "no rows per image"):
        scipy.io.savemat(folder / "x.mat", {"feat": stack, "data2": stack[0]})
        return [folder / "x.mat", *(["--variable", "data2"] if kind == "no rows per image" else [])]
    elif kind == "v7.3":
        header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        (folder / "x.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
        return [folder / "x.mat"]
    elif kind == "missing":
        return [folder / "absent.npy"]
    elif kind == "no npy":
        (folder / "x.txt").touch()
        return [folder]
    types = {"object": object, "complex": complex}
    np.save(path, {"1-D": stack[0, 0], "2-D": stack[0]}.get(kind, stack.astype(types.get(kind, np.float32))))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    return [path, *(["--patches-per-image", 3] if kind == "2-D" else [])]


def save_images(folder, *images):
    for name, E in zip("ab", images, strict=True):
        np.save(folder / f"{name}.npy", E)
    return [folder]


INPUTS = {
    "NaN": r"x.npy contains NaN \(image 2, patch 5\)",
    "inf": r"x.npy contains infinity \(image 2, patch 5\)",
    "empty image": "Image b is empty: 0 patches",
    "different d": "Image b has 5 features, but the other images have 12",
    "object": "x.npy has dtype object",
    "complex": "x.npy has dtype complex128",
    "1-D": "x.npy is 1-D",
    "2-D": "8 rows, which --patches-per-image 3 does not divide",
    "truncated": "x.npy is truncated: its header promises 2304 bytes of numbers, and 2303 are there",
    "pickled npz": "x.npz, array 'a', has dtype object",
    "no variable": "no variable 'data'; it has: feat, data2",
    "no rows per image": "is 2-D, with 8 rows: say with --patches-per-image",
    "v7.3": "-v7'",
    "missing": "absent.npy does not exist",
    "no npy": "holds no .npy file",
}


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", INPUTS)
def test_bad_input_is_one_line_and_nothing_is_left(tmp_path, out, capsys, kind, ending):
    (tmp_path / "in").mkdir()
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    arguments = broken(kind, tmp_path / "in")
    message = error_of(capsys, 1, "select", *arguments, "--out", out.with_suffix(ending))
    assert re.search(INPUTS[kind], message), message
    left = [path.suffix for path in out.parent.iterdir()]
    assert left == [] or kind in ("NaN", "inf") and sorted(left) == [".jsonl", ".part"]


ARGUMENTS = [
    ("--rate 0", "rate=0 is not valid; use a float in (0, 1]"),
    ("--rate 0.0", "rate=0.0 is not valid"),
    ("--rate 1.5", "rate=1.5 is not valid"),
    ("--rate nan", "rate=nan is not valid"),
    ("--rate True", "rate='True' is not valid"),
    ("--rate=-3", "rate=-3 is not valid"),
    ("--h 0", "'h' parameter of patchdistill select must be an int in the range [1, inf). Got 0"),
    ("--h 2.5", "invalid int value: '2.5'"),
    ("--metric hamming", "invalid choice: 'hamming' (choose from"),
    ("--coverage herding", "invalid choice: 'herding' (choose from"),
    ("--keep high", "which coverage='representatives' sets aside. Use --coverage none with it"),
    ("--outlier-threshold=-1", "'outlier_threshold' parameter"),
    ("--outlier-threshold nan", "'outlier_threshold' parameter"),
    ("--alpha 0", "'alpha' parameter"),
    ("--alpha nan", "'alpha' parameter"),
    ("--beta=-1", "'beta' parameter"),
    ("--bandwidth 0", "'bandwidth' parameter"),
    ("--tol=-1", "'tol' parameter"),
    ("--max-iter 0", "'max_iter' parameter"),
    ("--random-state=-1", "'random_state' parameter"),
    ("--normalize true", "invalid choice: 'true'"),
    ("--n-jobs 0", "'0' is not valid; use an int other than 0"),
    ("--patches-per-image 0", "'0' is not valid; use an int of at least 1"),
    ("--unknown", "unrecognized arguments: --unknown"),
]


@pytest.mark.parametrize("option, message", ARGUMENTS, ids=[option for option, _ in ARGUMENTS])
def test_bad_arguments_are_one_line_with_code_2(features, out, capsys, option, message):
    error = error_of(capsys, 2, "select", features, "--out", out, *option.split())
    assert message in error and error.endswith("--help)\n")
    assert list(out.parent.iterdir()) == []


def test_out_must_be_a_table_in_a_folder_that_exists(features, out, capsys):
    assert "must end in .csv or .parquet" in error_of(capsys, 2, "select", features, "--out", out.with_suffix(".txt"))
    error = error_of(capsys, 1, "select", features, "--out", out.parent / "absent" / "t.csv")
    assert "is no folder" in error
    assert "required: --out" in error_of(capsys, 2, "select", features)
    assert "required: COMMAND" in error_of(capsys, 2)


def test_an_error_after_some_images_keeps_them(tmp_path, out, capsys):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", STACK[i])
    good = np.load(tmp_path / "2.npy")
    bad = good.copy()
    bad[1, 1] = np.nan
    np.save(tmp_path / "2.npy", bad)
    for n_jobs in (2, 1):
        error_of(capsys, 1, "select", tmp_path, "--out", out, "--quiet", "--n-jobs", n_jobs)
        assert not out.exists()
    np.save(tmp_path / "2.npy", good)  # an image that is mended is no reason to start over: it was not done yet
    assert run("select", tmp_path, "--out", out) == 0
    assert "2 of 4 images were finished before" in capsys.readouterr().err
    assert read(out) == expected(range(4), STACK[:4])


def fail_at(n):
    yield from range(n)
    raise OSError("the disk is gone")


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("fails", ["reading", "working"])
def test_what_came_before_an_error_is_not_lost(n_jobs, fails):
    results = in_order(math.sqrt, fail_at(12) if fails == "reading" else [*range(12), -1, *range(8)], n_jobs)
    assert [next(results) for _ in range(12)] == [(math.sqrt(i), []) for i in range(12)]
    with pytest.raises(OSError if fails == "reading" else ValueError):
        next(results)


def slow_sqrt(x):
    time.sleep(0.02)
    return math.sqrt(x)


@pytest.mark.parametrize("ends", ["error", "close"])
def test_work_that_nobody_waits_for_is_dropped_without_a_word(ends):
    results = in_order(slow_sqrt, [*range(12), -1, *range(40)], n_jobs=2)
    for _ in range(12):
        next(results)
    if ends == "error":
        with pytest.raises(ValueError):
            next(results)
    results.close()
    del results
    gc.collect()  # a warning at the end of a generator would be told of here


# Going on


def stop_after(monkeypatch, n, error=KeyboardInterrupt):
    """Let select_patches fail after n images; the list of images done."""
    done = []

    def stopping(E, **parameters):
        if len(done) == n:
            raise error
        done.append(E)
        return select_patches(E, **parameters)

    monkeypatch.setattr(select_command, "select_patches", stopping)
    return done


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("stop", range(6))
def test_interrupted_and_started_again(features, out, capsys, monkeypatch, stop, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    whole, out = out.with_name(f"whole{ending}"), out.with_suffix(ending)
    assert run("select", features, "--out", whole, "--quiet") == 0
    stop_after(monkeypatch, stop)
    assert run("select", features, "--out", out, "--quiet") == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert not out.exists()
    done = stop_after(monkeypatch, 99)
    assert run("select", features, "--out", out, "--quiet") == 0
    assert len(done) == 6 - stop
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == sorted([out.name, whole.name])


def test_convergence_is_told_of_for_all_images_after_an_interruption(features, out, capsys, monkeypatch):
    options = ["select", features, "--out", out, "--quiet", "--max-iter", 1, "--tol", 1e-9]
    stop_after(monkeypatch, 4)
    assert run(*options) == 130
    capsys.readouterr()
    monkeypatch.undo()
    assert run(*options) == 0
    assert "6 of 6 images did not reach" in capsys.readouterr().err


def test_other_parameters_or_another_input_are_not_mixed_in(features, out, capsys, monkeypatch):
    stop_after(monkeypatch, 3)
    assert run("select", features, "--out", out, "--quiet") == 130
    monkeypatch.undo()
    capsys.readouterr()
    error = error_of(capsys, 1, "select", features, "--out", out, "--rate", 1)
    assert "rate was 0.45 and is 1." in error and "--restart" in error
    np.save(features.with_name("other.npy"), STACK)
    assert "input was" in error_of(capsys, 1, "select", features.with_name("other.npy"), "--out", out)
    np.save(features, STACK * 2)
    assert "Image 0 of" in error_of(capsys, 1, "select", features, "--out", out)
    assert run("select", features, "--out", out, "--restart", "--quiet") == 0
    assert len(read(out)) == 48


def test_a_folder_that_changed_before_the_finished_images_is_noticed(tmp_path, out, capsys, monkeypatch):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", STACK[i])
    stop_after(monkeypatch, 3)
    assert run("select", tmp_path, "--out", out, "--quiet") == 130
    monkeypatch.undo()
    capsys.readouterr()
    np.save(tmp_path / "00.npy", STACK[4])
    assert "Image 1 of" in error_of(capsys, 1, "select", tmp_path, "--out", out)
    (tmp_path / "00.npy").unlink()
    for i in (2, 3):
        (tmp_path / f"{i}.npy").unlink()
    assert "is now missing since" in error_of(capsys, 1, "select", tmp_path, "--out", out)


def test_a_complete_table_is_not_overwritten(features, out, capsys):
    out.write_text("mine")
    assert "exists already. Use --restart" in error_of(capsys, 1, "select", features, "--out", out)
    assert out.read_text() == "mine"
    assert run("select", features, "--out", out, "--restart", "--quiet") == 0
    assert len(read(out)) == 48


# The other commands


@pytest.fixture
def pictures(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, name in enumerate(["b.png", "a.png", "a.bmp"]):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_sample_then_embed_then_select(pictures, tmp_path, out):
    from patchdistill.embedding import PatchStatistics
    from patchdistill.sampling import GridSampler

    pools, features = tmp_path / "pools", tmp_path / "features"
    assert run("sample", pictures, "--out", pools, "--patches", 6, "--patch-size", 16, "--quiet") == 0
    sampled = GridSampler(6, 16).transform([pictures / "a.png"])
    with np.load(pools / "a.png.npz") as arrays:
        assert sorted(arrays) == ["left", "pixels", "top"]
        np.testing.assert_array_equal(arrays["pixels"], sampled[0])
        np.testing.assert_array_equal(arrays["top"], sampled.field("top", 0))
        np.testing.assert_array_equal(arrays["left"], sampled.field("left", 0))
    assert run("embed", pools, "--out", features, "--quiet") == 0
    np.testing.assert_array_equal(np.load(features / "a.png.npy"), PatchStatistics().transform([sampled[0]])[0])
    assert run("select", features, "--normalize", "columns", "--out", out, "--quiet") == 0
    assert sorted({row["image"] for row in read(out)}) == ["a.bmp", "a.png", "b.png"]


@pytest.mark.parametrize(
    ("sampling", "fields"),
    [
        ("random", []),
        ("panorama-uniform", ["lon", "lat", "fov"]),
        ("panorama-latitude", ["lon", "lat", "fov"]),
        ("panorama-fibonacci", ["lon", "lat", "fov"]),
        ("panorama-random", ["lon", "lat", "fov"]),
        ("panorama-trajectory", ["lon", "lat", "fov", "sequence", "step"]),
    ],
)
def test_sample_by_other_rules(pictures, tmp_path, sampling, fields):
    from patchdistill import panorama
    from patchdistill import sampling as flat

    name = sampling.removeprefix("panorama-").capitalize()
    Sampler = getattr(panorama, f"{name}Sampler") if fields else flat.RandomCropSampler
    Image = pytest.importorskip("PIL.Image")
    for path in pictures.iterdir():
        Image.open(path).resize((96, 48)).save(path)
    options = ["--patches", 12, "--patch-size", 16, "--sampling", sampling, "--quiet"]
    assert run("sample", pictures, "--out", tmp_path / "out", *options) == 0
    sampled = Sampler(12, 16).transform([pictures / "b.png"])
    with np.load(tmp_path / "out" / "b.png.npz") as arrays:
        assert sorted(arrays) == sorted(["pixels", "top", "left", *fields])
        np.testing.assert_array_equal(arrays["pixels"], sampled[0])
        for field in ["top", "left", *fields]:
            np.testing.assert_array_equal(arrays[field], sampled.field(field, 0))


def test_sample_refuses_another_rule_and_flat_pictures_as_panoramas(pictures, tmp_path, capsys):
    options = ["sample", pictures, "--out", tmp_path / "out", "--patches", 4, "--patch-size", 16]
    assert "invalid choice: 'sphere'" in error_of(capsys, 2, *options, "--sampling", "sphere")
    assert "twice as wide as high" in error_of(capsys, 1, *options, "--sampling", "panorama-latitude")
    assert run(*options, "--restart", "--quiet") == 0
    assert 'sampling was "grid" and is "random"' in error_of(capsys, 1, *options, "--sampling", "random")


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_embed_pictures(pictures, tmp_path, n_jobs):
    from patchdistill.embedding import PatchStatistics

    out = tmp_path / "features"
    options = ["--patches", 5, "--patch-size", 20, "--n-jobs", n_jobs, "--quiet"]
    assert run("embed", pictures, "--out", out, *options) == 0
    embedded = PatchStatistics(5, 20).transform([pictures / "b.png"])[0]
    np.testing.assert_array_equal(np.load(out / "b.png.npy"), embedded)
    assert len(list(out.glob("*.npy"))) == 3


@pytest.mark.parametrize("command", ["sample", "embed"])
def test_a_broken_picture_stops_and_the_others_are_kept(command, pictures, tmp_path, capsys):
    whole = (pictures / "b.png").read_bytes()
    (pictures / "b.png").write_bytes(whole[:-300])
    out = tmp_path / "out"
    options = [command, pictures, "--out", out, "--patches", 4, "--patch-size", 16]
    assert "b.png is broken or truncated" in error_of(capsys, 1, *options)
    assert sorted(path.stem for path in out.iterdir()) == ["a.bmp", "a.png", "patchdistill"]
    before = {path: path.stat().st_mtime_ns for path in out.glob("a.*")}
    (pictures / "b.png").write_bytes(whole)
    assert run(*options) == 0
    assert "2 of 3 images were finished before" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.glob("a.*")} == before
    assert "patches was 4 and is 5" in error_of(capsys, 1, *options, "--patches", 5)


def test_sample_and_embed_refuse_what_they_cannot_do(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert "is missing; the input must be a folder" in error_of(capsys, 1, "sample", tmp_path / "no", "--out", out)
    assert "is a file" in error_of(capsys, 1, "embed", pictures / "a.png", "--out", out)
    assert "holds no picture" in error_of(capsys, 1, "embed", out.parent, "--out", out)
    assert "a.bmp" in error_of(capsys, 1, "sample", pictures, "--out", out, "--patch-size", 50)
    assert "'patch_size' parameter" in error_of(capsys, 2, "embed", pictures, "--out", out, "--patch-size", 8)
    pools = tmp_path / "pools"
    pools.mkdir()
    np.savez(pools / "p.npz", other=np.zeros(3))
    assert "no array 'pixels'; it has: other" in error_of(capsys, 1, "embed", pools, "--out", out)
    assert "cut already" in error_of(capsys, 2, "embed", pools, "--out", out, "--patches", 3)
    (pools / "p.npz").write_bytes(b"PK no")
    assert "p.npz cannot be read" in error_of(capsys, 1, "embed", pools, "--out", out)
    assert not out.exists()


def test_a_picture_too_small_for_its_patches_is_warned_of_by_name(pictures, tmp_path, capsys):
    options = ["--patches", 500, "--patch-size", 47, "--quiet"]
    assert run("sample", pictures, "--out", tmp_path / "out", *options) == 0
    assert f"patchdistill: warning: {pictures / 'a.bmp'}: " in capsys.readouterr().err


def test_demo_passes_its_arguments_on(tmp_path, capsys, monkeypatch):
    demo = pytest.importorskip("patchdistill.demo")
    calls = []

    def run_demo(out, images=None, n_jobs=None, progress=True):
        calls.append((out, images, n_jobs, progress))
        return out / "report.html"

    assert list(inspect.signature(demo.run_demo).parameters) == list(inspect.signature(run_demo).parameters)
    monkeypatch.setattr(demo, "run_demo", run_demo)
    assert run("demo", "--out", tmp_path, "--images", tmp_path / "x", "--n-jobs", 2, "--quiet") == 0
    assert calls == [(tmp_path, tmp_path / "x", 2, False)]
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")


@pytest.mark.parametrize("command", ["sample", "embed", "select", "demo"])
def test_help_has_an_example_that_parses(command, capsys):
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    examples = [line.split() for line in text.splitlines() if line.startswith(f"  patchdistill {command} ")]
    assert examples and max(map(len, text.splitlines())) <= 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"patchdistill.cli.{command}.run", lambda arguments: None)
        assert all(run(*example[1:]) == 0 for example in examples)


def test_version_as_a_program():
    shown = subprocess.run([sys.executable, "-m", "patchdistill.cli", "--version"], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout) == (0, f"patchdistill {__version__}\n")
