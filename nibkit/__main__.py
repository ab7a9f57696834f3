"""The command line: ``nibkit explain PICTURE CAPTION`` explains your own picture, ``nibkit compare`` compares methods.

``python -m nibkit`` is the same. What a command needs is imported when it is called.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

COMMANDS = {
    "explain": "which patches and which words make a picture and a caption alike",
    "compare": "run methods on a data set, score their maps, print a table",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: done; 1: ``compare`` could explain no pair; 2: bad input, told in one line; 130: stopped by Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="nibkit", description="The Narrowing Information Bottleneck on CLIP.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help="nibkit COMMAND --help says more")
    for name, purpose in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    if parser.parse_args(arguments[:1]).command == "compare":
        from .evaluation.compare import build_parser, run
    else:
        build_parser, run = build_explain_parser, explain
    args = build_parser().parse_args(arguments[1:])
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        try:
            return run(args)
        except (OSError, ValueError, TypeError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stopped:
            print(str(stopped) or "stopped before anything was explained", file=sys.stderr)
            return 130


def build_explain_parser() -> argparse.ArgumentParser:
    """The arguments of ``nibkit explain``."""
    from .theory.quadrature import RULES

    parser = argparse.ArgumentParser(
        prog="nibkit explain",
        description=f"Say {COMMANDS['explain']}: a value for each word, and a figure.",
        epilog="Exit status: 0 done, 2 bad input (one line says what), 130 stopped by Ctrl-C.",
    )
    parser.add_argument("picture", type=Path)
    parser.add_argument("caption")
    parser.add_argument(
        "--clip", metavar="NAME_OR_FOLDER", help="shapes (bundled), a hub name, a folder (default: NIBKIT_CLIP, else shapes)"
    )
    parser.add_argument("--layer", type=int, help="cut both towers at the input of this block (default: 3/4 of the depth)")
    parser.add_argument(
        "--rule", choices=RULES, default="riemann", help="how the integral is summed (default: the paper's riemann)"
    )
    parser.add_argument("--steps", type=int, default=10, help="number of gradients (default: the paper's 10)")
    parser.add_argument("--device", help="auto, cpu, cuda, mps")
    parser.add_argument("--out", type=Path, default=Path("map.png"), help="where the figure goes (default: map.png)")
    return parser


def explain(args: argparse.Namespace) -> int:
    """Explain one picture: print the words' values, write the figure; returns the exit status.

    Raises, before any work, what ``load_clip``, ``Clip.prepare`` and ``nib`` raise of an argument, and ValueError or
    FileNotFoundError if the figure would have no place to go.
    """
    from .checks import check_figure_path

    check_figure_path("--out", args.out)

    from matplotlib import pyplot as plt

    from .methods.nib import nib
    from .model.loading import load_clip
    from .show import plots

    clip = load_clip(args.clip, device=args.device)
    inputs = clip.prepare(args.picture, args.caption)
    started = time.perf_counter()
    attribution = nib(clip, inputs, layer=args.layer, num_steps=args.steps, rule=args.rule)
    seconds = time.perf_counter() - started

    with plt.rc_context():
        plots.use_style()
        fig = plots.explain(args.picture, attribution, title=f"“{args.caption}”")
        fig.savefig(args.out, dpi=120)
        plt.close(fig)
    print(f"similarity {float(attribution.similarity[0]):.3f}   (cosine of picture and caption, {clip.name}, {seconds:.2f} s)")
    for word, value in attribution.words_of(0):
        print(f"{round(value, 4) + 0.0:+.4f}  {word}")  # no minus before 0
    print(f"figure: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
