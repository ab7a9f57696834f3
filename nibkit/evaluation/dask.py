"""The benchmark on many machines: batches of pairs go to the workers of a Dask cluster, rows come back.

A worker loads the model once, by its name, and checks that it is the same. A batch whose worker dies is given to
another. Speed is the workers': where several share a machine, seconds and fps say how fast they were *together*.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ..methods.registry import Method
from ..model.clip import Clip
from .attempts import reason_of
from .digests import describe_model
from .reading import Pair, id_of
from .runner import Job, Measures, Outcome, Runner, Work

if TYPE_CHECKING:
    import distributed

ELSEWHERE = (
    "workers load the model by its name, and {name!r} is none that they can find: save model, tokenizer and processor to a "
    "folder that all of them see (save_pretrained), and load it from there"
)
_ONE_BATCH = threading.Lock()  # at a time in a process, also where a worker has several threads: counts are the batch's own
_RUNNERS: dict[tuple, Runner] = {}


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to make a ``Runner`` like the one at home."""

    name: str
    device: str
    dtype: torch.dtype
    attention: str
    model: tuple[tuple[str, str], ...]
    methods: tuple[Method, ...]
    measures: Measures

    @property
    def key(self) -> tuple:
        """What two recipes for the same runner have in common; functions need not be hashable."""
        methods = tuple((method.label, method.written) for method in self.methods)
        return self.name, self.device, str(self.dtype), self.attention, self.model, methods, self.measures


@contextlib.contextmanager
def on_dask(
    client: distributed.Client | None, clip: Clip, model: Mapping[str, str], methods: list[Method], measures: Measures
) -> Iterator[Work]:
    """A function that has jobs done on the client's cluster, their outcomes in the order in which they are ready.

    client: a ``distributed.Client``; None: a cluster of its own on this machine, a process a core, closed on the way out.
    Raises ImportError where Dask is not installed, TypeError if client is something else, ValueError if the model can't be loaded
    by its name, or if a worker finds another one there.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError("engine='dask' needs Dask, which is not installed: pip install 'nibkit[cluster]'") from error
    if client is not None and not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client; got {type(client).__name__}")
    name = clip.name if clip.name == "shapes" or not os.path.isdir(clip.name) else os.path.abspath(clip.name)
    if name != "shapes" and not os.path.isdir(name) and "/" not in name:  # no hub name either
        raise ValueError(ELSEWHERE.format(name=name))
    attention = clip.model.config._attn_implementation or "sdpa"
    recipe = Recipe(name, clip.device.type, clip.dtype, attention, tuple(model.items()), tuple(methods), measures)

    with contextlib.ExitStack() as stack:

        def run(jobs: Iterator[Job]) -> Generator[Outcome, None, None]:
            user = client
            if user is None:
                local = stack.enter_context(distributed.LocalCluster(threads_per_worker=1, dashboard_address=":0"))
                user = stack.enter_context(distributed.Client(local))
            futures = (submit(user, recipe, job) for job in jobs)
            ahead = 2 * max(1, sum(user.nthreads().values()))  # enough that none waits, few enough that pictures don't pile up
            running = distributed.as_completed(itertools.islice(futures, ahead))
            try:
                for future in running:
                    outcomes = future.result()
                    running.update(itertools.islice(futures, 1))
                    yield from outcomes
            finally:
                user.cancel([*running.futures])

        yield run


class Unsent:
    """Stands for a pair that can't be sent to a worker; whoever looks at its picture is told why."""

    def __init__(self, pair: Pair, reason: str):
        self.id, self.caption, self.reason = id_of(pair), str(pair.caption), reason

    @property
    def image(self) -> None:
        raise TypeError(self.reason)


def submit(client: distributed.Client, recipe: Recipe, job: Job) -> distributed.Future:
    """The job's future. A pair that holds what no other process can have (an open file, say) costs itself alone."""
    from distributed.protocol.pickle import dumps

    try:
        return client.submit(work, recipe, job, pure=False)
    except Exception:  # a pair's own, as it is pickled; what is wrong with all of them is raised below, again
        pairs: list[Pair] = []
    for pair in job.pairs:
        try:
            dumps(pair)
        except Exception as error:
            pair = Unsent(pair, f"it can't be sent to a worker ({reason_of(error)})")
        pairs.append(pair)
    return client.submit(work, recipe, replace(job, pairs=pairs), pure=False)


def work(recipe: Recipe, job: Job) -> list[Outcome]:
    """One batch, on a worker."""
    with _ONE_BATCH:
        if recipe.key not in _RUNNERS:
            _RUNNERS.clear()  # one model at a time
            _RUNNERS[recipe.key] = make_runner(recipe)
        return list(_RUNNERS[recipe.key](job))


def make_runner(recipe: Recipe) -> Runner:
    """The model, loaded and compared with the one at home, and its methods."""
    from ..model.loading import load_clip

    try:
        clip = load_clip(recipe.name, device=recipe.device, dtype=recipe.dtype, attention=recipe.attention)
    except FileNotFoundError as error:
        raise ValueError(f"{ELSEWHERE.format(name=recipe.name)} ({error})") from error
    there = describe_model(clip)
    for name, value in recipe.model:
        if there.get(name) != value:
            raise ValueError(f"the model {recipe.name!r} has other {name} on a worker than here: save it under a name of its own")
    return Runner(clip, recipe.methods, recipe.measures)
