"""What ``nibkit compare`` is asked to do: read from its arguments and checked, as far as can be, before a model is loaded."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..checks import MOST_STEPS, check_whole, listed, one_line
from ..io.outputs import add_replace
from ..io.streams import Parser
from ..metrics.names import PROTOCOLS
from .report import STYLES

ABOUT = (
    "Methods compared on a data set, for example: nibkit compare --data shapes --n 200 --methods nib m2ib --out results.sqlite. "
    "It stops at any moment (Ctrl-C, a power cut, kill) and goes on where it was when it is called again. A method may have "
    "options of its own, nib:num_steps=5 or rise:num_masks=600,seed=3, and has that name in the table, too. "
    "From Python: nk.evaluate."
)
DATA = ("shapes", "folder", "conceptual-captions", "imagenet", "flickr8k", "rsicd")
SCENES = 200  # of shapes, where --n does not say
COUNTS = {"num_steps": MOST_STEPS, "draws": MOST_STEPS, "num_masks": 10 * MOST_STEPS, "num_text_masks": 10 * MOST_STEPS}


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``nibkit compare``."""
    parser = Parser(
        prog="nibkit compare",
        description=ABOUT,
        epilog="Exit status: 0 done, 1 no pair could be explained, 2 bad input or another failure (one line says what), "
        "130 stopped by Ctrl-C.",
    )
    data = parser.add_argument_group("what is explained")
    data.add_argument("--data", choices=DATA, help="the data set (default: shapes, the synthetic world)", default="shapes")
    data.add_argument("--path", type=Path, help="where it lies (all but shapes)")
    data.add_argument("--n", type=int, help=f"how many scenes of shapes (default: {SCENES})")
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
    manner.add_argument(
        "--methods", nargs="+", metavar="METHOD", help="names, or name:option=value,… (default: the paper's eight)"
    )
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
    result.add_argument("--figure", type=Path, help="where the summary's figure goes, summary.png for example; see --replace")
    add_replace(result)
    result.add_argument("--read", action="store_true", help="only summarise what --out holds by now; explain nothing")
    return parser


def check_numbers(args: argparse.Namespace) -> None:
    """ValueError, which names the option, on a number out of range."""
    for name in ("n", "limit", "batch_size", "timing", "curve_steps"):
        if (value := getattr(args, name)) is not None:
            check_whole(f"--{name.replace('_', '-')}", value)
    check_whole("--seed", args.seed, least=0, most=2**63 - 1)


def check_methods(args: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]] | None:
    """The methods that are meant, as ``nk.evaluate`` takes them; ValueError or TypeError, which names the one at fault."""
    from ..methods.registry import METHODS, read_methods

    methods = None if args.methods is None else dict(map(read_method, args.methods))
    if methods is not None and len(methods) < len(args.methods):
        raise ValueError("--methods names one twice")
    for method in read_methods(methods, None, args.seed):
        for name in COUNTS.keys() & method.options.keys():
            check_whole(f"{name} of --methods {method.label}", method.options[name], most=COUNTS[name], optional=True)
    if args.against is not None and args.against not in (methods or METHODS):
        raise ValueError(f"--against {args.against} is not among the methods: {listed(methods or METHODS)}")
    return methods


def check_data(args: argparse.Namespace) -> dict[str, Any]:
    """The data set's options; ValueError where they, --path or --n do not fit it."""
    from ..data import datasets
    from ..data.shapes import sample

    options, load = read_options(args.data_options), getattr(datasets, args.data.replace("-", "_"))
    given = ["path", "limit", "clip"]
    if args.data == "shapes":
        load, given = sample, ["n", "seed"]
        if args.path is not None:
            raise ValueError(f"--path {args.path} needs --data: what lies there?")
    elif args.path is None:
        raise ValueError(f"--data {args.data} needs --path: where does it lie?")
    elif args.n is not None:
        raise ValueError(f"--n is for shapes alone: of {args.data} draw a part by --limit")
    known = inspect.signature(load).parameters
    if unknown := [name for name in options if name not in known or name in given]:
        raise ValueError(f"--data-options {unknown[0]}: {args.data} takes no such option here")
    return options


def read_method(text: str) -> tuple[str, tuple[str, dict[str, Any]]]:
    """ "rise:num_masks=600,seed=3" as (label, (name, options))."""
    name, _, options = text.partition(":")
    return text, (name, read_options(filter(None, re.split(r",(?=\w+=)", options))))


def read_options(parts: Iterable[str]) -> dict[str, Any]:
    """["num_masks=600", "rule=gauss"] as a mapping; a value that is no Python literal is text.

    Raises ValueError, which names the option: one that is no name=value, that comes twice, or whose value Python can't take.
    """
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{part!r} is no option: write name=value")
        if key in options:
            raise ValueError(f"{key} is given twice ({options[key]!r:.60} and {value!r:.60}): give it once")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
        except (TypeError, MemoryError, RecursionError) as error:
            raise ValueError(f"the value of {key}, {value!r:.60}, can't be read ({one_line(error, named=True)})") from error
    return options
