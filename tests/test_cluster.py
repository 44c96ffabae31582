"""The same call on the workers of a cluster, one of which dies, gives what one process gives, bit for bit."""

import gc
import json
import os
import signal

import joblib
import numpy as np
import pytest
from joblib.pool import PicklingPool
from sklearn.exceptions import ConvergenceWarning

import patchdistill.selector
from patchdistill import PatchBags, ResidualPatchSelector

N_WORKERS = 4
FEWEST_PATCHES = 20
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the signals of POSIX")


@pytest.fixture(autouse=True)
def no_endless_wait():
    """Some errors make joblib's dask backend wait forever; here they are failures."""

    def fail(signum, frame):
        raise TimeoutError("the cluster gave no answer for five minutes")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def dask_client(tmp_path_factory):
    """Client of four worker processes that listen to this machine alone; afterwards all are gone."""
    distributed = pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    before = set(psutil.Process().children(recursive=True))
    options = {
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",  # with None the scheduler answers at a fixed port, which may be taken
        "scheduler_kwargs": {"dashboard": False},
        "local_directory": str(tmp_path_factory.mktemp("dask")),
    }
    with distributed.LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, processes=True, **options) as cluster:
        with distributed.Client(cluster) as client:
            yield client
            started = set(psutil.Process().children(recursive=True)) - before
    # Python's own process that looks after semaphores ends with this one.
    started = [p for p in started if p.is_running() and "resource_tracker" not in " ".join(p.cmdline())]
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive


@pytest.fixture
def on_dask(dask_client):
    """All that is parallel in the test runs on the cluster, of which all workers are up."""
    dask_client.wait_for_workers(N_WORKERS, timeout=60)
    with joblib.parallel_config(backend="dask"):
        yield dask_client


@pytest.fixture
def on_ray(monkeypatch):
    """The same on worker processes of ray, which are told to start again when they die."""
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    bases = PicklingPool.__bases__  # which ray replaces for good
    ray.init(num_cpus=N_WORKERS, include_dashboard=False, object_store_memory=2**27, log_to_driver=False)
    register_ray()
    again = {"max_restarts": 3, "max_task_retries": 3}
    with joblib.parallel_config(backend="ray", n_jobs=N_WORKERS, ray_remote_args=again):
        yield
    ray.shutdown()
    PicklingPool.__bases__ = bases
    gc.collect()


def make_images(n_images=24, weights=False):
    """Images that are told apart by their numbers of patches."""
    rng = np.random.default_rng(0)
    images = [rng.random((FEWEST_PATCHES + i, 40)) for i in range(n_images)]
    return PatchBags.from_list(images, fields={"weights": [rng.random(len(E)) for E in images]} if weights else None)


def logging_metric(folder, kills=None):
    """Distance that logs each call, and once, when others are done, kills the worker that works on a certain image.

    A function in a function is sent to the workers by its source; they could not import this module.
    """
    fewest, here = FEWEST_PATCHES, os.getpid()

    def metric(E):
        import json
        import os
        import signal
        import time

        from sklearn.metrics import euclidean_distances
        from threadpoolctl import threadpool_info

        image, process = len(E) - fewest, os.getpid()
        if image == kills and process != here and not any(folder.glob(f"{kills}-*")):
            (folder / f"{image}-{process}.json").write_text(json.dumps({"image": image, "killed": process}))
            while len(list(folder.iterdir())) < 8:
                time.sleep(0.01)
            os.kill(process, signal.SIGKILL)
        blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        log = folder / f"{image}-{process}.json"
        log.write_text(json.dumps({"image": image, "process": process, "blas": blas}))
        return euclidean_distances(E)

    return metric


def read_log(folder):
    return [json.loads(path.read_text()) for path in folder.iterdir()]


def bits(value):
    """Everything about an array or a list of arrays, the last bit of every number included."""
    if isinstance(value, list):
        return [bits(item) for item in value]
    value = np.asarray(value)
    return value.dtype, value.shape, value.tobytes()


def assert_same_bits(selector, X, **parameters):
    """What the selector learned is what it learns in this process."""
    with joblib.parallel_config(backend="sequential"):
        alone = ResidualPatchSelector(**parameters).fit(X)
    for name in ("selected_idx_", "weights_", "residual_scores_", "objective_", "dual_gap_", "ranking_", "outliers_"):
        assert bits(getattr(selector, name)) == bits(getattr(alone, name)), name
    return alone


def assert_redone(X, folder, kills):
    """Fit while a worker is killed; its images are redone, and nothing else comes out for it."""
    selector = ResidualPatchSelector(metric=logging_metric(folder, kills)).fit(X)
    log = read_log(folder)
    (killed,) = [record["killed"] for record in log if "killed" in record]
    done = [record for record in log if "process" in record]
    assert {record["image"] for record in done} == set(range(len(X)))
    (redone,) = [record["process"] for record in done if record["image"] == kills]
    assert len({killed, redone, os.getpid()}) == 3
    assert_same_bits(selector, X, metric=logging_metric(folder))


@pytest.mark.parametrize("image_bytes", [1, 6e3, 180 * 2048 * 4, 9e6, 1e9])
def test_a_task_is_several_images_and_below_what_dask_warns_of(image_bytes):
    n = patchdistill.selector._images_per_task(image_bytes)
    assert 1 <= n <= 16
    assert n == 1 or n * image_bytes < 10e6
    assert n > 1 or image_bytes > 3e6


def test_dask_gives_what_one_process_gives(on_dask, tmp_path):
    X = make_images(weights=True)
    selector = ResidualPatchSelector(metric=logging_metric(tmp_path)).fit(X)
    kept, scores = selector.transform(X), selector.score_samples(X)
    assert {record["process"] for record in read_log(tmp_path)} <= set(on_dask.run(os.getpid).values())
    alone = assert_same_bits(selector, X, metric=logging_metric(tmp_path))
    with joblib.parallel_config(backend="sequential"):
        assert bits(kept.values) == bits(alone.transform(X).values)
        assert bits(scores) == bits(alone.score_samples(X))


def test_images_of_a_killed_worker_are_redone_by_dask(on_dask, tmp_path, monkeypatch):
    monkeypatch.setattr(patchdistill.selector, "_TASK_IMAGES", 2)
    assert_redone(make_images(), tmp_path, kills=13)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # ray leaves its files to the garbage collector
def test_images_of_a_killed_worker_are_redone_by_ray(on_ray, tmp_path, monkeypatch):
    monkeypatch.setattr(patchdistill.selector, "_TASK_IMAGES", 2)
    assert_redone(make_images(), tmp_path, kills=13)


def test_workers_limit_blas_to_one_thread(on_dask, tmp_path):
    def blas_threads(limit=None):
        import scipy.linalg  # noqa: F401
        from threadpoolctl import threadpool_info, threadpool_limits

        if limit is not None:
            threadpool_limits(limits=limit, user_api="blas")
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    before = on_dask.run(blas_threads, limit=3)
    ResidualPatchSelector(metric=logging_metric(tmp_path)).fit(make_images())
    assert all(set(record["blas"]) == {1} for record in read_log(tmp_path))
    assert on_dask.run(blas_threads) == before == dict.fromkeys(before, {3})


def test_workers_share_the_cache(on_dask, tmp_path):
    X = make_images(6)
    first = ResidualPatchSelector(memory=str(tmp_path), rate=0.2).fit(X)
    solved = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("output.pkl")}
    assert len(solved) == len(X)
    second = ResidualPatchSelector(memory=str(tmp_path), rate=0.5).fit(X)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("output.pkl")} == solved
    assert_same_bits(first, X, rate=0.2)
    assert_same_bits(second, X, rate=0.5)


def test_workers_that_do_not_converge_are_told_of_once(on_dask):
    with pytest.warns(ConvergenceWarning, match="24 of 24 images did not reach tol=1e-12 in 1 iterations") as caught:
        ResidualPatchSelector(tol=1e-12, max_iter=1).fit(make_images())
    assert len(caught) == 1


def test_an_image_that_cannot_be_embedded_is_told_of_and_nothing_waits(on_dask):
    def embedding(patches):
        if len(patches) == FEWEST_PATCHES + 190:  # its turn comes when the first ones are done
            raise ValueError("this image is damaged")
        return patches

    X = PatchBags.from_list([np.random.default_rng(i).random((FEWEST_PATCHES + i, 3)) for i in range(200)])
    with pytest.raises(ValueError, match="this image is damaged"):
        ResidualPatchSelector(embedding=embedding).fit(X)
