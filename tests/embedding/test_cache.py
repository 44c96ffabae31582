import hashlib
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from patchdistill.embedding.cache import FeatureCache, digest

PATCHES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
arrays = hnp.arrays(st.sampled_from([np.uint8, np.int16, np.float32]), hnp.array_shapes(max_dims=3, max_side=3))
parts = st.lists(st.one_of(st.text(max_size=3), arrays), max_size=3)


def means(patches):
    return patches.mean(axis=(1, 2))


def never(patches):
    raise AssertionError("was kept already")


def agree(first, second):
    """The same texts, and arrays of the same bytes, shape and type."""
    plain = [
        [(p.shape, p.dtype.str, p.tobytes()) if isinstance(p, np.ndarray) else p for p in side]
        for side in (first, second)
    ]
    return plain[0] == plain[1]


# --- names


@given(first=parts, second=parts)
def test_a_digest_tells_everything_apart(first, second):
    assert (digest(*first) == digest(*second)) == agree(first, second)
    assert len(digest(*first)) == 64 and set(digest(*first)) <= set("0123456789abcdef")


def test_a_digest_counts_shape_and_type_and_where_parts_end():
    zeros = np.zeros(8, np.uint8)
    names = [digest(zeros), digest(zeros.reshape(2, 4)), digest(zeros.view(np.int16)), digest(zeros[:4], zeros[4:])]
    names += [digest("ab", "c"), digest("a", "bc"), digest("abc"), digest(), digest("2 ab")]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("view", [np.asfortranarray, lambda x: x[::-1][::-1], lambda x: x[:, ::2]])
def test_a_digest_does_not_care_how_an_array_lies_in_memory(view):
    for patches in (PATCHES, PATCHES / 255):
        assert digest(view(patches)) == digest(np.array(view(patches), order="C"))


def test_a_digest_is_the_same_in_other_processes():
    expected = hashlib.sha256(b"(2,) |u1 \x01\x021 a ").hexdigest()
    assert digest(np.array([1, 2], np.uint8), "a") == expected


# --- files


def test_what_was_computed_once_is_read_the_second_time(tmp_path):
    folder = tmp_path / "made" / "if need be"
    first = FeatureCache(folder, "means").get(PATCHES, means)
    second = FeatureCache(folder, "means").get(PATCHES.copy(), never)
    assert_array_equal(first, means(PATCHES))
    assert second.dtype == first.dtype and second.tobytes() == first.tobytes()


def test_files_are_plain_arrays_named_by_what_they_were_made_from(tmp_path):
    FeatureCache(tmp_path, "means").get(PATCHES, means)
    (file,) = tmp_path.iterdir()
    assert file.name == f"{digest('means', PATCHES)}.npy"
    assert_array_equal(np.load(file, allow_pickle=False), means(PATCHES))


def test_other_patches_and_other_recipes_are_other_files(tmp_path):
    other = PATCHES.copy()
    other[2, 1, 3, 0] ^= 1
    for recipe in ("means", "mean"):
        for patches in (PATCHES, other, PATCHES[:4], PATCHES[::-1], PATCHES / 255):
            assert_array_equal(FeatureCache(tmp_path, recipe).get(patches, means), means(patches))
    assert len(list(tmp_path.iterdir())) == 10


def test_what_failed_is_not_kept(tmp_path):
    with pytest.raises(AssertionError):
        FeatureCache(tmp_path, "means").get(PATCHES, never)
    assert not list(tmp_path.iterdir())
    assert_array_equal(FeatureCache(tmp_path, "means").get(PATCHES, means), means(PATCHES))


def test_objects_are_not_kept(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle=False"):
        FeatureCache(tmp_path, "means").get(PATCHES, lambda patches: np.array([print] * len(patches)))
    assert not list(tmp_path.iterdir())


def test_two_threads_at_one_image_leave_one_whole_file(tmp_path):
    both_computed = threading.Barrier(2)
    results = []

    def compute(patches):
        both_computed.wait(timeout=20)
        return means(patches)

    def run():
        results.append(FeatureCache(tmp_path, "means").get(PATCHES, compute))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    for result in results:
        assert_array_equal(result, means(PATCHES))
    assert [file.suffix for file in tmp_path.iterdir()] == [".npy"]
    assert_array_equal(FeatureCache(tmp_path, "means").get(PATCHES, never), means(PATCHES))


@settings(max_examples=150)
@given(data=st.data())
def test_a_broken_file_is_named_or_still_features(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cache")
    cache = FeatureCache(folder, "means")
    cache.get(PATCHES, means)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 80))] = data.draw(
            st.sampled_from(b"\x00\x01\x02\x80P0123456789()[]{}',<>|fiuO \n:")
        )
    file.write_bytes(content[: data.draw(st.sampled_from([0, 5, 60, 130, 200, len(content)]))])
    try:
        assert len(cache.get(PATCHES, never)) == 5
    except ValueError as error:
        assert str(file) in str(error) and "Remove it" in str(error)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY", b"PK\x03\x04 no archive"])
def test_what_is_no_array_is_named(tmp_path, content):
    (tmp_path / f"{digest('means', PATCHES)}.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"\.npy cannot be read \(.*\). Remove it; it will be made again."):
        FeatureCache(tmp_path, "means").get(PATCHES, never)


@pytest.mark.parametrize("array", [np.zeros((4, 3)), np.zeros(5), np.zeros((5, 3, 1))])
def test_an_array_of_another_shape_is_named(tmp_path, array):
    np.save(tmp_path / f"{digest('means', PATCHES)}.npy", array)
    with pytest.raises(ValueError, match=r"\.npy has shape \(.*\), not one row for each of 5 patches. Remove it."):
        FeatureCache(tmp_path, "means").get(PATCHES, never)


def test_an_array_that_would_run_code_is_refused(tmp_path):
    np.save(tmp_path / f"{digest('means', PATCHES)}.npy", np.array([[print]] * 5), allow_pickle=True)
    with pytest.raises(ValueError, match=r"cannot be read \(Object arrays cannot be loaded"):
        FeatureCache(tmp_path, "means").get(PATCHES, never)
