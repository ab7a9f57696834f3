"""``nibkit compare``: methods run on a data set, their maps scored, a table and a figure of it. See ``arguments`` for these."""

from __future__ import annotations

import argparse
import inspect
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..checks import one_line
from ..io.outputs import check_figure_path, check_output, check_replaced, is_our_figure, save_figure
from .arguments import SCENES, check_data, check_methods, check_numbers
from .report import format_summary, plot_summary
from .schema import check_path
from .store import read_results

if TYPE_CHECKING:
    from ..model.clip import Clip
    from .reading import Pair

LISTED = 8  # of what can't be used, at most so many by name


def run(args: argparse.Namespace) -> int:
    """Explain, score and report, or only report; returns the exit status, 0 or 1.

    Raises, before the model is loaded, ValueError, TypeError or OSError on options that do not fit and on outputs that can't be
    written; then what ``load_clip``, the data set's loader and ``nk.evaluate`` raise.
    """
    if args.read and args.out is None:
        raise ValueError("--read needs --out, the file to be read")
    if args.out is not None:
        check_path(args.out)
        if not args.read:
            check_output("--out", args.out)
    if args.figure is not None:
        check_figure_path("--figure", args.figure, filter(None, [args.out]))
        if args.out is not None and os.path.realpath(args.figure) == os.path.realpath(args.out):
            raise ValueError(f"--figure and --out are the same file, {args.out}: give each its own")
        if args.read:
            check_replaced("--figure", args.figure, args.replace)
    return report(args, read_results(args.out) if args.read else explain(args))


def explain(args: argparse.Namespace) -> pd.DataFrame:
    """The table of ``nk.evaluate``."""
    check_numbers(args)
    methods, options = check_methods(args), check_data(args)

    from ..model.loading import load_clip
    from .evaluate import evaluate

    clip = load_clip(args.clip, device=args.device)
    pairs = load_pairs(args, options, clip)
    check_data_stay(args, options, pairs)
    list_skipped(getattr(pairs, "skipped", ()), "say .skipped of the data set in Python")
    names = ("batch_size", "protocol", "seed", "timing", "curve_steps", "retry_skipped")
    settings: dict[str, Any] = {name: getattr(args, name) for name in names}
    try:
        if args.dask:
            import distributed

            with distributed.Client(args.dask) as client:
                return evaluate(clip, pairs, methods, args.out, client=client, **settings)
        return evaluate(clip, pairs, methods, args.out, engine=None if args.dask is None else "dask", **settings)
    except sqlite3.Error as error:
        raise OSError(f"--out {args.out} can't be written ({error}): its rows so far are kept, mend that and go on") from error


def check_data_stay(args: argparse.Namespace, options: Mapping[str, Any], pairs: Iterable[Pair]) -> None:
    """ValueError if an output is a file of the data set: one that a pair or its table comes from, or any other in its folder;
    or if the figure would replace a file that is none of ours (see ``outputs.check_replaced``)."""

    def given() -> Iterator[str | os.PathLike]:
        if isinstance(table := options.get("table"), str):
            yield from (args.path / table, table)
        sources = (getattr(pair, "source", None) for pair in pairs)
        yield from (source for source in sources if isinstance(source, (str, os.PathLike)))

    for name, path in (("--out", args.out), ("--figure", args.figure)):
        if path is not None and path.exists():
            check_output(name, path, given())
            ours = is_our_figure(path) if name == "--figure" else path.stat().st_size
            if args.path is not None and path.resolve().is_relative_to(args.path.resolve()) and not ours:
                raise ValueError(f"{name} {path} lies among the data and may be one of them: give another name, or delete it")
    if args.figure is not None:
        check_replaced("--figure", args.figure, args.replace)


def list_skipped(rows: Sequence[tuple[str, str]], rest: str) -> None:
    """Name some of what can't be used, and why; ``rest`` says where the others are told: there may be millions."""
    for who, reason in rows[:LISTED]:
        print(one_line(f"skipped: {who}: {reason}"), file=sys.stderr)
    if len(rows) > LISTED:
        print(f"skipped: … and {len(rows) - LISTED} more: {rest}", file=sys.stderr)


def load_pairs(args: argparse.Namespace, options: Mapping[str, Any], clip: Clip) -> Iterable[Pair]:
    """The data set that is meant."""
    from ..data import datasets

    if args.data == "shapes":
        count = SCENES if args.n is None else args.n
        return datasets.shapes(count if args.limit is None else min(count, args.limit), args.seed, **options)
    load = getattr(datasets, args.data.replace("-", "_"))
    wanted = {"clip": clip} if "clip" in inspect.signature(load).parameters else {}
    seed = None if args.limit is None else args.seed  # all of them: in their own order
    try:
        return load(args.path, limit=args.limit, **{"seed": seed} | dict(options) | wanted)
    except (ValueError, FileNotFoundError) as error:
        first, *layout = str(error).splitlines()
        if layout:  # a drawing of folders, which is no line
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"{first.rstrip('.')}: help({load.__module__!r}) in Python shows the layout") from error
        raise


def report(args: argparse.Namespace, table: pd.DataFrame) -> int:
    """Print the summary, write the figure, say where the rows are; returns the exit status."""
    from .summary import summarise

    skipped = [(f"{row['pair']}{row['method'] and ' by '}{row['method']}", row["reason"]) for row in table.attrs["skipped"]]
    where = f"{args.out} has them in its table skipped" if args.out else "with --out its table skipped has them"
    if table.empty:
        list_skipped(skipped, where)
        print("error: no pair could be explained", file=sys.stderr)
        return 1
    summary = summarise(table, args.against or ("nib" if "nib" in set(table["method"]) else None))
    try:
        print(format_summary(summary, args.summary), end="", flush=True)
    finally:  # also where nobody reads what is printed
        if args.figure is not None:
            import matplotlib

            matplotlib.use("Agg")
            save_figure(plot_summary(summary), args.figure, "--figure", dpi=150)
            print(f"figure: {args.figure}", file=sys.stderr)
    if args.out is not None:
        print(f"{len(table)} rows in {args.out}", file=sys.stderr)
    list_skipped(skipped, where)
    return 0
