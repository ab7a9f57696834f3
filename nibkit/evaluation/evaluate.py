"""Methods × pairs × metrics: ``evaluate`` makes one tidy table, a row per pair and method (Tables 2 to 8 of the paper).

Pairs go through in batches of ``batch_size``, the same for all methods. Of each batch every method is timed, its passes are
counted, its maps are scored, and its rows are written before the next one's turn: what is in the file stays, whatever happens.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from ..checks import check_choice, check_seed, check_whole, outside
from ..methods.registry import Method, read_methods
from ..metrics.names import PROTOCOLS
from ..model.clip import Clip, check_clip
from ..resources import version
from .attempts import attempt
from .digests import RESULTS, describe_model
from .reading import Pair, Unmet, check_ids, check_pair, look_at, read_pairs
from .runner import Job, Measures, Runner, Work
from .store import ALL, Id, Seen, Store

if TYPE_CHECKING:
    import distributed


def evaluate(
    clip: Clip,
    pairs: Iterable[Pair],
    methods: Iterable[str] | Mapping[str, Any] | None = None,
    out: str | os.PathLike | None = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = 8,
    protocol: str = "paper",
    seed: int = 0,
    timing: int = 1,
    curve_steps: int | None = None,
    retry_skipped: bool = False,
    progress: bool = True,
    engine: str | None = None,
    client: distributed.Client | None = None,
) -> pd.DataFrame:
    """Explain every pair by every method and score the maps.

    Args:
        clip: the model.
        pairs: an iterable of pairs with ``id`` (text or a whole number, each once), ``image``, ``caption`` and, where the truth
            is known, ``masks`` (bool [k, H, W], of what the caption names, at the picture's own size or as the model sees it: see
            ``nk.localisation``) or ``scene``: any data set of ``nk.datasets``. It is gone through once, a batch at a time.
        methods: names of ``nk.METHODS`` (None: all of them) or, beyond the paper, ``nk.BEYOND``; or a mapping from labels of
            your own to a name or a function (clip, inputs, **options) -> Attribution, with options or without:
            ``{"nib n=5": ("nib", {"num_steps": 5})}``.
            One that takes ``masks`` or ``words`` gets the pairs' truth: ``{"oracle": nk.controls.oracle_map}``. (The masks are
            as the pairs have them; ``inputs.views[i].mask`` makes of each what the model sees.)
        out: an SQLite file that takes the rows as they come; called again after an interruption, ``evaluate`` goes on from
            there, and more pairs and methods may be added. It knows each row's picture, caption and masks by a digest, and the
            model, its processor, tokenizer and attention likewise: rows of another kind are refused, not mixed in.
            None: the rows are kept in memory.
        options: more options by label, ``{"rise": {"num_masks": 600}}``.
        batch_size: pairs a call, the same for all methods. No metric depends on it; speed and memory do.
        protocol: of the metrics, "paper" or "eos"; see ``nk.confidence``.
        seed: of every method that draws numbers and whose options don't say otherwise.
        timing: how often each batch is explained; its seconds are the median.
        curve_steps: steps of the insertion and deletion curves, at most the model's patches (see ``nk.curves``); None: no
            curves, which cost twice as many looks at the picture as steps.
        retry_skipped: try again what an earlier run on this file skipped (a picture that was missing, say).
        progress: show a progress bar.
        engine, client: "dask" hands the batches to a Dask cluster of its own on this machine (in a script, call it under
            ``if __name__ == "__main__":``); a ``distributed.Client`` to its cluster. Each worker loads the model by its name,
            so it must be found there; this process alone writes the file.

    Returns:
        DataFrame in the order of the pairs, then of the methods: pair, method; image_drop, image_increase, text_drop,
        text_increase (percent) and what else ``nk.confidence`` says; with ``curve_steps`` the areas of
        ``nk.insertion_deletion``; for pairs with masks, ``localisation``'s scores; seconds (a pair), fps (pairs a second),
        peak_memory (MB), forward, backward (rows a pair through both encoders, and each encoder's own: ``forward_image`` …;
        see ``costs.count_passes``).
        Seconds are those of the explanation alone, after a warm-up: no reading of pictures, no metrics. Peak memory is that of
        the method's first batch in this run, above what was in use before (``costs.with_peak_memory``).
        What can't be explained (an unreadable picture, a caption too long, an id that no file can hold, a method that raises, too
        few maps, a map with NaN) costs its own row: it is listed in ``attrs["skipped"]`` and in the file's table ``skipped``,
        with the reason, and a warning says how many there are. A pair that could not even be read is called "position 7".
        If a batch fails though none of its pairs does alone, each is explained, and timed, alone.

    Raises:
        ValueError, TypeError: an argument out of range, an unknown method or option, two pairs of one id, a method that fails on
            every pair of its first batch of two or more, a file of another kind, or one made with another model, preprocessing,
            tokenizer, attention, protocol, seed, batch_size, timing, curve_steps, version, device, other options of a method, or
            with another picture, caption or masks under a pair's id.
        BlockingIOError: another run is writing ``out``. PermissionError, OSError: it can't be written.
        torch.OutOfMemoryError: the GPU is full; a smaller batch_size may fit.
        KeyboardInterrupt: Ctrl-C. What is written is kept; repeat the call to go on.
    """
    check_clip(clip)
    batch_size, timing, seed = check_whole("batch_size", batch_size), check_whole("timing", timing), check_seed(seed)
    curve_steps = check_whole("curve_steps", curve_steps, most=clip.image.grid**2, optional=True)
    check_choice("protocol", protocol, PROTOCOLS)
    check_choice("engine", engine, ("dask",), optional=True)
    chosen = read_methods(methods, options, seed)
    total = len(pairs) if isinstance(pairs, Sized) else None
    if total == 0:
        raise ValueError("there are no pairs to explain: the data set is empty")
    if isinstance(pairs, (list, tuple)):
        check_ids(pairs)
    model, measures = describe_model(clip), Measures(protocol, timing, curve_steps)
    common = describe(clip) | model | {"seed": seed, "batch_size": batch_size} | asdict(measures)
    settings = {name: str(value) for name, value in common.items()}
    written = {method.label: method.written for method in chosen}
    order: dict[Id, int] = {}  # id -> position
    with contextlib.ExitStack() as stack:
        work: Work = Runner(clip, chosen, measures).all
        if engine or client is not None:
            from .dask import on_dask

            work = stack.enter_context(on_dask(client, clip, model, chosen, measures))
        store = stack.enter_context(Store(out, settings, written, free=("model",)))
        if retry_skipped:
            store.reopen_skipped()
        bar = stack.enter_context(tqdm(total=total and total * len(chosen), disable=not progress, unit="row"))
        try:
            jobs = open_jobs(pairs, chosen, batch_size, store, order, bar)
            for outcome in stack.enter_context(contextlib.closing(work(jobs))):
                store.add(outcome.pairs, outcome.rows, outcome.skipped)
                bar.update(len(outcome.rows) + sum(len(chosen) if m == ALL else 1 for _, m, _ in outcome.skipped))
        except KeyboardInterrupt:
            kept = f"{len(store.done)} results are kept in {store.path}: repeat the call to go on"
            raise KeyboardInterrupt(f"stopped; {kept if out else 'nothing is kept'}") from None
        table = store.table()
    return arrange(table, order, list(written))


def open_jobs(
    pairs: Iterable[Pair], methods: Sequence[Method], batch_size: int, store: Store, order: dict[Id, int], bar: tqdm
) -> Iterator[Job]:
    """The batches that have something left to do; ``order`` takes the position of every pair that comes by."""
    labels = [method.label for method in methods]

    def to_do(id: Id) -> list[str]:
        return [label for label in labels if not {(id, label), (id, ALL)} & store.done]

    stream: Iterator[Any] = read_pairs(pairs)
    while batch := list(itertools.islice(stream, batch_size)):
        met: list[tuple[Pair, Seen]] = []
        for pair in batch:
            seen = check_pair(pair, len(order), order)
            order[seen.id] = len(order)
            if isinstance(seen, Unmet):
                leave_out(seen, store)
                bar.update(len(methods))
                continue
            store.check_pair(seen)
            if not to_do(seen.id):  # no runner will look at it
                store.check_pair(look_again(pair, seen, store.pairs[seen.id]))
            met.append((pair, seen))
        missing: dict[str, list[int]] = {label: [] for label in labels}
        for i, (_, seen) in enumerate(met):
            for label in to_do(seen.id):
                missing[label].append(i)
        bar.update(len(met) * len(methods) - sum(map(len, missing.values())))
        if any(missing.values()):
            yield Job([pair for pair, _ in met], [seen.position for _, seen in met], missing)
    if not order:
        raise ValueError("there are no pairs to explain: the data set is empty")


def leave_out(unmet: Unmet, store: Store) -> None:
    """List it as skipped; if there are rows of its id already, they stay, unless they are of another caption (ValueError)."""
    if unmet.id not in store.explained:
        store.add([], [], [(unmet.id, ALL, unmet.reason)])
    elif unmet.caption is not None:
        store.check_pair(store.pairs[unmet.id]._replace(caption=unmet.caption))


def look_again(pair: Pair, seen: Seen, stored: Seen) -> Seen:
    """The pair with its digests now, if the file has them. Of a picture that is gone they are not known: its rows stay."""
    looked, _ = attempt(lambda _: look_at(pair), [0] if stored.picture is not None else [])
    return Seen(*seen[:3], *looked[0][1][1:]) if looked else seen


def arrange(table: pd.DataFrame, order: Mapping[Id, int], methods: Sequence[str]) -> pd.DataFrame:
    """The rows of these pairs and methods, in their order."""
    rank = {method: i for i, method in enumerate(methods)} | {ALL: -1}
    skipped = [row for row in table.attrs["skipped"] if row["pair"] in order and row["method"] in rank]
    table = table[table["pair"].isin(list(order)) & table["method"].isin(methods)]
    key = table["pair"].map(order) * len(methods) + table["method"].map(rank)
    table = table.loc[key.sort_values(kind="stable").index].reset_index(drop=True)
    table.attrs["skipped"] = sorted(skipped, key=lambda row: (order[row["pair"]], rank[row["method"]]))
    if skipped:
        first = table.attrs["skipped"][0]
        warnings.warn(
            f"{len({row['pair'] for row in skipped})} of {len(order)} pairs were skipped, wholly or for a method; "
            f"the first is {first['pair']!r}: {first['reason']}; all are in table.attrs['skipped']",
            stacklevel=outside(),
        )
    return table


def describe(clip: Clip) -> dict[str, object]:
    """What the rows were made with: a run that goes on must have all of it but the model's name in common.

    ``digests.describe_model`` says more of the model.
    """
    device = torch.cuda.get_device_name(clip.device) if clip.device.type == "cuda" else clip.device.type
    versions = {"nibkit": version(), "results": RESULTS, "torch": torch.__version__}
    return {"model": clip.name, "dtype": clip.dtype, "device": device, **versions}
