"""The benchmark as a command: ``python -m nibkit.benchmark --data shapes --n 200 --methods nib m2ib --out results.sqlite``.

It stops at any moment (Ctrl-C, a power cut, kill) and goes on where it was when it is called again. From Python: ``nk.evaluate``.
A method may have options of its own, ``nib:num_steps=5`` or ``rise:num_masks=600,seed=3``; so it is called in the table, too.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..model.clip import Clip
from .evaluate import PROTOCOLS, evaluate
from .report import STYLES, format_summary, plot_summary
from .store import check_path, read_results
from .summary import summarise

DATA = ("shapes", "folder", "conceptual-captions", "imagenet", "flickr8k", "rsicd")
LISTED = 100  # rows that can't be used, at most so many by name


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m nibkit.benchmark",
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
    data.add_argument("--clip", metavar="NAME_OR_FOLDER", help="shapes (bundled, default), a hub name, a folder")
    data.add_argument("--device", help="auto, cpu, cuda, mps")
    how = parser.add_argument_group("how")
    how.add_argument("--methods", nargs="+", metavar="METHOD", help="names, or name:option=value,… (default: all)")
    how.add_argument("--protocol", choices=PROTOCOLS, default="paper", help="of the metrics (default: paper)")
    how.add_argument("--seed", type=int, default=0, help="of the scenes and of every method that draws numbers (default: 0)")
    how.add_argument("--batch-size", type=int, default=8, help="pairs a call, the same for all methods (default: 8)")
    how.add_argument("--timing", type=int, default=1, help="how often each batch is timed, the median counts (default: 1)")
    how.add_argument(
        "--curve-steps", type=int, help="also insertion and deletion areas, by curves of so many steps (default: none)"
    )
    how.add_argument("--retry-skipped", action="store_true", help="try again what an earlier run skipped")
    how.add_argument(
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (see ``--help``)."""
    args = build_parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        try:
            check_outputs(args)
            table = read_results(args.out) if args.read else run(args)
            return report(args, table)
        except (OSError, ValueError, TypeError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stopped:
            print(str(stopped) or "stopped before anything was explained", file=sys.stderr)
            return 130


def check_outputs(args: argparse.Namespace) -> None:
    """ValueError or FileNotFoundError, before any work, if a result would have no place to go."""
    if args.out is not None:
        check_path(args.out)
    elif args.read:
        raise ValueError("--read needs --out, the file to be read")
    if args.figure is not None:
        from matplotlib.backend_bases import FigureCanvasBase

        if args.figure.is_dir() or args.figure.suffix[1:].lower() not in FigureCanvasBase.filetypes:
            raise ValueError(f"--figure {args.figure} is no file name of a figure: give one such as summary.png")
        if not args.figure.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {os.fspath(args.figure.parent)!r} for --figure: make it first")


def run(args: argparse.Namespace) -> pd.DataFrame:
    """Load, explain, score."""
    from ..methods.registry import METHODS
    from ..model.loading import load_clip

    methods = None if args.methods is None else dict(map(read_method, args.methods))
    if args.methods is not None and len(methods) < len(args.methods):
        raise ValueError("--methods names one twice")
    if args.against is not None and args.against not in (methods or METHODS):
        raise ValueError(f"--against {args.against} is not among the methods: {', '.join(methods or METHODS)}")
    clip = load_clip(args.clip, device=args.device)
    pairs = load_pairs(args, clip)
    list_skipped(getattr(pairs, "skipped", ()))
    how = dict(batch_size=args.batch_size, protocol=args.protocol, seed=args.seed, timing=args.timing)
    how |= dict(curve_steps=args.curve_steps, retry_skipped=args.retry_skipped)
    if args.dask:
        import distributed

        with distributed.Client(args.dask) as client:
            return evaluate(clip, pairs, methods, args.out, client=client, **how)
    return evaluate(clip, pairs, methods, args.out, engine=None if args.dask is None else "dask", **how)


def list_skipped(rows: Iterable) -> None:
    """Name the data set's rows that can't be used: the warning of the loader counts them, and there may be millions."""
    for number, (id, reason) in enumerate(rows):
        if number == LISTED:
            print(f"skipped: and {len(rows) - LISTED} more, by .skipped of the data set in Python", file=sys.stderr)
            break
        print(f"skipped: {id}: {reason}", file=sys.stderr)


def load_pairs(args: argparse.Namespace, clip: Clip) -> Iterable:
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


def read_method(text: str) -> tuple[str, tuple[str, dict]]:
    """ "rise:num_masks=600,seed=3" as (label, (name, options))."""
    name, _, given = text.partition(":")
    return text, (name, read_options(filter(None, re.split(r",(?=\w+=)", given))))


def read_options(given: Iterable[str]) -> dict:
    """["num_masks=600", "rule=gauss"] as a mapping; a value that is no Python literal is text."""
    options = {}
    for part in given:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{part!r} is no option: write name=value")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


def report(args: argparse.Namespace, table: pd.DataFrame) -> int:
    """Print the summary, write the figure, say where the rows are."""
    for row in table.attrs["skipped"]:
        print(f"skipped: {row['pair']}{row['method'] and ' by '}{row['method']}: {row['reason']}", file=sys.stderr)
    if table.empty:
        print("no pair could be explained", file=sys.stderr)
        return 1
    methods = list(dict.fromkeys(table["method"]))
    summary = summarise(table, args.against or ("nib" if "nib" in methods else None))
    print(format_summary(summary, args.summary), end="")
    if args.figure is not None:
        import matplotlib

        matplotlib.use("Agg")
        figure = plot_summary(summary)
        figure.savefig(args.figure, dpi=150)
        print(f"figure: {args.figure}", file=sys.stderr)
    if args.out is not None:
        print(f"{len(table)} rows in {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
