"""The benchmark on a Dask cluster of two processes, one of which is killed on the way: the same table as here."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import helpers
import pandas as pd
import pytest
import torch
from evaluations import close_rows, prepare_forks

import nibkit as nk
from nibkit.evaluation import dask as cluster
from nibkit.evaluation.digests import describe_model
from nibkit.evaluation.evaluate import evaluate
from nibkit.evaluation.runner import Job, Measures
from nibkit.evaluation.store import read_results
from nibkit.methods.registry import read_methods

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


def waiting(clip, inputs, seconds: float = 0.0):
    time.sleep(seconds)
    return nk.nib(clip, inputs, num_steps=1)


METHODS = {"waiting": (waiting, {"seconds": 0.1}), "nib": ("nib", {"num_steps": 1})}


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


@pytest.fixture(scope="module")
def pairs():
    return [
        SimpleNamespace(id=i, image=s.image, caption=s.caption, masks=None) for i, s in enumerate(nk.shapes.sample(10, seed=2))
    ]


@pytest.fixture(scope="module")
def client():
    """Two worker processes, which a nanny each restarts when they die."""
    prepare_forks()
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as local,
        distributed.Client(local) as client,
    ):
        yield client


def test_a_worker_killed_on_the_way_changes_nothing(client, clip, pairs, tmp_path):
    bad = SimpleNamespace(id="bad", image="nowhere.png", caption="a ring", masks=None)
    out, killed = tmp_path / "r.sqlite", []

    def coming(pairs):
        """Once rows have come in, one worker process gets SIGKILL while it has work."""
        for i, pair in enumerate(pairs):
            if i >= 6 and not killed:
                killed.extend(client.run(os.getpid).values())
                os.kill(killed[0], signal.SIGKILL)
            yield pair

    how = dict(batch_size=2, progress=False)
    with pytest.warns(UserWarning, match="1 of 11 pairs"):
        table = evaluate(clip, coming([*pairs, bad]), METHODS, out, client=client, **how)
    assert len(table) == 20 and len(killed) == 2
    client.wait_for_workers(2)
    assert killed[0] not in client.run(os.getpid).values()  # a new process
    with pytest.warns(UserWarning, match="1 of 11 pairs"):
        close_rows(table, evaluate(clip, [*pairs, bad], METHODS, **how))
    close_rows(read_results(out), table)


def test_it_goes_on_from_a_file_that_was_begun_here(client, clip, pairs, tmp_path):
    out, methods = tmp_path / "r.sqlite", {"waiting": waiting}
    begun = evaluate(clip, pairs[:4], methods, out, batch_size=2, progress=False)
    table = evaluate(clip, pairs[:8], methods, out, batch_size=2, progress=False, client=client)
    assert list(table["pair"]) == list(range(8))
    pd.testing.assert_frame_equal(table.head(4), begun)  # seconds too: nothing was done again


def test_what_a_worker_raises_ends_the_run(client, clip, pairs):
    with pytest.raises(ValueError, match="method 'nib' fails on every pair of its first batch: layer must be"):
        evaluate(clip, pairs[:2], ["nib"], options={"nib": {"layer": 99}}, progress=False, client=client)


def test_another_model_of_that_name_is_refused(client, pairs):
    changed = nk.load_clip("shapes", device="cpu")
    changed.model.visual_projection.weight[0, 0] += 1
    with pytest.raises(ValueError, match="the model 'shapes' has other weights on a worker than here"):
        evaluate(changed, pairs[:2], ["nib"], progress=False, client=client)


def test_another_processor_than_the_workers_is_refused(client, pairs):
    """Workers load their own: what was changed here would be done there by nobody."""
    changed = nk.load_clip("shapes", device="cpu")
    changed.image_processor.image_mean = [0, 0, 0]
    with pytest.raises(ValueError, match="the model 'shapes' has other image_processor.image_mean on a worker than here"):
        evaluate(changed, pairs[:2], ["nib"], progress=False, client=client)


def test_another_picture_of_the_same_id_is_refused(client, clip, pairs, tmp_path):
    out, methods = tmp_path / "r.sqlite", {"nib": METHODS["nib"]}
    evaluate(clip, pairs[:4], methods, out, batch_size=2, progress=False, client=client)
    swapped = [SimpleNamespace(**vars(pairs[0]) | {"image": pairs[1].image}), *pairs[1:4]]
    for more in (methods, METHODS):  # all is done; a method is to come
        with pytest.raises(ValueError, match="holds another pair of id 0 .another picture"):
            evaluate(clip, swapped, more, out, batch_size=2, progress=False, client=client)
    assert set(read_results(out).query("pair < 2")["method"]) == {"nib"}


def test_bad_pairs_cost_their_own_rows(client, clip, pairs):
    bad = [SimpleNamespace(**vars(pairs[0]) | change) for change in ({"id": 2**70}, {"id": "b", "image": 3.5}, {"id": "c\udce9"})]
    locked = SimpleNamespace(id="d", image=threading.Lock(), caption="a ring", masks=None)  # can't be sent to a worker
    with pytest.warns(UserWarning, match="4 of 7 pairs"):
        table = evaluate(clip, [*bad, locked, *pairs[:3]], {"nib": METHODS["nib"]}, batch_size=2, progress=False, client=client)
    listed = [row["pair"] for row in table.attrs["skipped"]]
    assert list(table["pair"]) == [0, 1, 2] and listed == [str(2**70), "b", "c\\udce9", "d"]
    assert "it can't be sent to a worker (cannot pickle" in table.attrs["skipped"][-1]["reason"]


def test_a_model_without_a_place_is_refused_at_once(client, pairs):
    with pytest.raises(ValueError, match="workers load the model by its name, and 'tiny' is none that they can find"):
        evaluate(helpers.tiny_clip(), pairs[:2], ["nib"], progress=False, client=client)


def test_a_cluster_of_its_own(clip, pairs, monkeypatch):
    """Threads instead of processes here, which start at once."""
    start = distributed.LocalCluster
    monkeypatch.setattr(distributed, "LocalCluster", lambda **how: start(processes=False, n_workers=1, **how))
    table = evaluate(clip, pairs[:4], {"waiting": waiting}, engine="dask", batch_size=2, progress=False)
    close_rows(table, evaluate(clip, pairs[:4], {"waiting": waiting}, batch_size=2, progress=False))


def test_where_dask_is_missing_it_says_what_to_install(clip, pairs, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ImportError, match=r"engine='dask' needs Dask, which is not installed: pip install 'nibkit\[cluster\]'"):
        evaluate(clip, pairs, ["nib"], engine="dask", progress=False)


def recipe(clip, label: str) -> cluster.Recipe:
    methods = tuple(read_methods({label: waiting}, None, 0))
    return cluster.Recipe("shapes", "cpu", torch.float32, "sdpa", tuple(describe_model(clip).items()), methods, Measures())


def test_a_worker_loads_the_model_once_and_one_at_a_time(clip, pairs, monkeypatch):
    """In this process: ``work`` is what each worker runs."""
    made, make = [], cluster.make_runner
    monkeypatch.setattr(cluster, "make_runner", lambda recipe: made.append(recipe.methods[0].label) or make(recipe))
    monkeypatch.setattr(cluster, "_RUNNERS", {})
    for label in ("a", "a", "b", "a"):
        (outcome,) = cluster.work(recipe(clip, label), Job(pairs[:1], [0], {label: [0]}))
        assert [row["method"] for row in outcome.rows] == [label] and len(cluster._RUNNERS) == 1
    assert made == ["a", "b", "a"]


def test_threads_of_one_worker_do_not_count_each_others_passes(clip, pairs, monkeypatch):
    monkeypatch.setattr(cluster, "_RUNNERS", {})
    jobs = [Job(pairs[i : i + 1], [i], {"a": [0]}) for i in range(6)]
    with ThreadPoolExecutor(3) as threads:
        outcomes = list(threads.map(lambda job: cluster.work(recipe(clip, "a"), job), jobs))
    assert [row["forward"] for (outcome,) in outcomes for row in outcome.rows] == [6] * 6
