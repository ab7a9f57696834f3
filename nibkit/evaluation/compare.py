"""Methods compared on a data set: ``nibkit compare --data shapes --n 200 --methods nib m2ib --out results.sqlite``.

It stops at any moment (Ctrl-C, a power cut, kill) and goes on where it was when it is called again. From Python: ``nk.evaluate``.
A method may have options of its own, ``nib:num_steps=5`` or ``rise:num_masks=600,seed=3``; so it is called in the table, too.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..checks import check_figure_path, escaped
from ..metrics.names import PROTOCOLS
from .report import STYLES, format_summary, plot_summary
from .schema import check_path
from .store import read_results

if TYPE_CHECKING:
    from ..model.clip import Clip
    from .reading import Pair

DATA = ("shapes", "folder", "conceptual-captions", "imagenet", "flickr8k", "rsicd")
LISTED = 100  # rows that can't be used, at most so many by name


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="nibkit compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 done, 1 no pair could be explained, 2 bad input (one line says what), 130 stopped by Ctrl-C.",
    )
    data = parser.add_argument_group("what is explained")
    data.add_argument("--data", choices=DATA, help="the data set (default: shapes, the synthetic world)", default="shapes")
    data.add_argument("--path", type=Path, help="where it lies (all but shapes)")
    data.add_argument("--n", type=int, default=200, help="how many scenes of shapes (default: 200)")
    data.add_argument("--limit", type=int, help="at most so many pairs, drawn at random (--seed)")
    data.add_argument(
        "--data-options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of nk.datasets' loader, caption=closest for example",
    )
    data.add_argument(
        "--clip", metavar="NAME_OR_FOLDER", help="shapes (bundled), a hub name, a folder (default: NIBKIT_CLIP, else shapes)"
    )
    data.add_argument("--device", help="auto, cpu, cuda, mps")
    manner = parser.add_argument_group("how")
    manner.add_argument("--methods", nargs="+", metavar="METHOD", help="names, or name:option=value,… (default: all)")
    manner.add_argument("--protocol", choices=PROTOCOLS, default="paper", help="of the metrics (default: paper)")
    manner.add_argument("--seed", type=int, default=0, help="of the scenes and of every method that draws numbers (default: 0)")
    manner.add_argument("--batch-size", type=int, default=8, help="pairs a call, the same for all methods (default: 8)")
    manner.add_argument("--timing", type=int, default=1, help="how often each batch is timed, the median counts (default: 1)")
    manner.add_argument(
        "--curve-steps", type=int, help="also insertion and deletion areas, by curves of so many steps (default: none)"
    )
    manner.add_argument("--retry-skipped", action="store_true", help="try again what an earlier run skipped")
    manner.add_argument(
        "--dask",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="on a Dask cluster: its address, or one on this machine",
    )
    result = parser.add_argument_group("what comes out")
    result.add_argument("--out", type=Path, help="the SQLite file that takes the rows and that a later call goes on from")
    result.add_argument("--summary", choices=STYLES, default="markdown", help="printed at the end (default: markdown)")
    result.add_argument("--against", help="the method that all others are compared with (default: nib, where it is among them)")
    result.add_argument("--figure", type=Path, help="where the summary's figure goes, summary.png for example")
    result.add_argument("--read", action="store_true", help="only summarise what --out holds by now; explain nothing")
    return parser


def run(args: argparse.Namespace) -> int:
    """Explain, score and report, or only report; returns the exit status, 0 or 1.

    Raises, before any work, what ``nk.evaluate`` raises, and ValueError or FileNotFoundError on options that do not fit.
    """
    if args.out is not None:
        check_path(args.out)
    elif args.read:
        raise ValueError("--read needs --out, the file to be read")
    if args.figure is not None:
        check_figure_path("--figure", args.figure)
    return report(args, read_results(args.out) if args.read else explain(args))


def explain(args: argparse.Namespace) -> pd.DataFrame:
    """The table of ``nk.evaluate``."""
    from ..methods.registry import METHODS
    from ..model.loading import load_clip
    from .evaluate import evaluate

    methods = None if args.methods is None else dict(map(read_method, args.methods))
    if methods is not None and len(methods) < len(args.methods):
        raise ValueError("--methods names one twice")
    if args.against is not None and args.against not in (methods or METHODS):
        raise ValueError(f"--against {args.against} is not among the methods: {', '.join(methods or METHODS)}")
    clip = load_clip(args.clip, device=args.device)
    pairs = load_pairs(args, clip)
    list_skipped(getattr(pairs, "skipped", ()))
    names = ("batch_size", "protocol", "seed", "timing", "curve_steps", "retry_skipped")
    options: dict[str, Any] = {name: getattr(args, name) for name in names}
    if args.dask:
        import distributed

        with distributed.Client(args.dask) as client:
            return evaluate(clip, pairs, methods, args.out, client=client, **options)
    return evaluate(clip, pairs, methods, args.out, engine=None if args.dask is None else "dask", **options)


def list_skipped(rows: Sequence[tuple[str, str]]) -> None:
    """Name the rows that can't be used, a line each: a warning counts them, and there may be millions."""
    for number, (id, reason) in enumerate(rows):
        if number == LISTED:
            where = ".skipped of the data set, or .attrs['skipped'] of the table, in Python"
            print(f"skipped: and {len(rows) - LISTED} more: see {where}", file=sys.stderr)
            break
        print(escaped(f"skipped: {id}: {reason}"), file=sys.stderr)


def load_pairs(args: argparse.Namespace, clip: Clip) -> Iterable[Pair]:
    """The data set that is meant."""
    from ..data import datasets

    options = read_options(args.data_options)
    if args.data == "shapes":
        return datasets.shapes(args.n if args.limit is None else min(args.n, args.limit), args.seed, **options)
    if args.path is None:
        raise ValueError(f"--data {args.data} needs --path: where does it lie?")
    load = getattr(datasets, args.data.replace("-", "_"))
    if "clip" in inspect.signature(load).parameters:
        options["clip"] = clip
    seed = None if args.limit is None else args.seed  # all of them: in their own order
    return load(args.path, limit=args.limit, **{"seed": seed} | options)


def read_method(text: str) -> tuple[str, tuple[str, dict[str, Any]]]:
    """ "rise:num_masks=600,seed=3" as (label, (name, options))."""
    name, _, options = text.partition(":")
    return text, (name, read_options(filter(None, re.split(r",(?=\w+=)", options))))


def read_options(parts: Iterable[str]) -> dict[str, Any]:
    """["num_masks=600", "rule=gauss"] as a mapping; a value that is no Python literal is text."""
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{part!r} is no option: write name=value")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


def report(args: argparse.Namespace, table: pd.DataFrame) -> int:
    """Print the summary, write the figure, say where the rows are; returns the exit status."""
    from .summary import summarise

    rows = table.attrs["skipped"]
    skipped = [(f"{row['pair']}{row['method'] and ' by '}{row['method']}", row["reason"]) for row in rows]
    if table.empty:
        list_skipped(skipped)
        print("no pair could be explained", file=sys.stderr)
        return 1
    summary = summarise(table, args.against or ("nib" if "nib" in set(table["method"]) else None))
    print(format_summary(summary, args.summary), end="")
    if args.figure is not None:
        import matplotlib

        matplotlib.use("Agg")
        figure = plot_summary(summary)
        figure.savefig(args.figure, dpi=150)
        print(f"figure: {args.figure}", file=sys.stderr)
    if args.out is not None:
        print(f"{len(table)} rows in {args.out}", file=sys.stderr)
    list_skipped(skipped)
    return 0
