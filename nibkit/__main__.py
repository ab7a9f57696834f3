"""The command line: ``python -m nibkit explain PICTURE CAPTION`` explains your own picture."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.backend_bases import FigureCanvasBase

from .methods.nib import nib
from .model.loading import load_clip
from .theory.quadrature import RULES


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m nibkit", description="The Narrowing Information Bottleneck on CLIP.")
    commands = parser.add_subparsers(dest="command", required=True)
    explain = commands.add_parser("explain", help="which patches and which words make a picture and a caption alike")
    explain.add_argument("picture", type=Path)
    explain.add_argument("caption")
    explain.add_argument(
        "--clip", default="shapes", metavar="NAME_OR_FOLDER", help="shapes (bundled, default), a hub name, a folder"
    )
    explain.add_argument(
        "--layer", type=int, default=None, help="cut both towers at the input of this block (default: 3/4 of the depth)"
    )
    explain.add_argument(
        "--rule", choices=RULES, default="riemann", help="how the integral is summed (default: the paper's riemann)"
    )
    explain.add_argument("--steps", type=int, default=10, help="number of gradients (default: the paper's 10)")
    explain.add_argument("--device", default=None, help="auto, cpu, cuda, mps")
    explain.add_argument("--out", type=Path, default=Path("map.png"), help="where the figure goes (default: map.png)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (2: bad input, told in one line)."""
    args = build_parser().parse_args(arguments)
    with warnings.catch_warnings(), plt.rc_context():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        return explain(args)


def explain(args: argparse.Namespace) -> int:
    """Explain one picture: print the words' values, write the figure."""
    try:
        if args.out.is_dir() or args.out.suffix[1:].lower() not in FigureCanvasBase.filetypes:
            raise ValueError(f"--out {args.out} is no file name of a figure: give one such as map.png")
        if not args.out.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {args.out.parent} for --out: make it first")
        clip = load_clip(args.clip, device=args.device)
        inputs = clip.prepare(args.picture, args.caption)
        started = time.perf_counter()
        attribution = nib(clip, inputs, layer=args.layer, num_steps=args.steps, rule=args.rule)
    except (OSError, ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - started

    from .show import plots

    plots.use_style()
    fig = plots.explain(args.picture, attribution, title=f"“{args.caption}”")
    fig.savefig(args.out, dpi=120)
    plt.close(fig)
    print(f"similarity {float(attribution.similarity[0]):.3f}   (cosine of picture and caption, {clip.name}, {seconds:.2f} s)")
    for word, value in attribution.words_of(0):
        print(f"{value:+.4f}  {word}")
    print(f"figure: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
