"""The command line: ``nibkit explain PICTURE CAPTION`` explains your own picture, ``nibkit compare`` compares methods.

``python -m nibkit`` is the same. What a command needs is imported when it is called.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from .checks import one_line
from .io.outputs import add_replace
from .io.streams import Parser, standard_streams

COMMANDS = {
    "explain": "how much each patch and each word counts for how alike a picture and a caption are",
    "compare": "run methods on a data set, score their maps, print a table",
}
STDOUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: done; 1: ``compare`` could explain no pair; 2: bad input or any other failure, told in one line, "error: …"; 130: stopped
    by Ctrl-C. With the variable NIBKIT_TRACEBACK set, what fails is raised instead.
    """
    with plain_output(), standard_streams():
        try:
            try:
                return call(sys.argv[1:] if arguments is None else arguments)
            finally:
                sys.stdout.flush()  # a closed pipe or a full disk is met here, not when Python ends
        except KeyboardInterrupt as stopped:
            print(str(stopped) or "stopped before anything was explained", file=sys.stderr)
            return 130
        except Exception as error:
            if os.environ.get("NIBKIT_TRACEBACK"):
                raise
            print(f"error: {failure(error)}", file=sys.stderr)
            return 2


def call(arguments: list[str]) -> int:
    """Read the arguments and run the command that they name; returns the exit status."""
    from .resources import version

    parser = Parser(prog="nibkit", description="The Narrowing Information Bottleneck on CLIP.")
    parser.add_argument("--version", action="version", version=f"nibkit {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help="nibkit COMMAND --help says more")
    for name, purpose in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    if parser.parse_args(arguments[:1]).command == "compare":
        from .evaluation.arguments import build_parser
        from .evaluation.compare import run
    else:
        build_parser, run = build_explain_parser, explain
    return run(build_parser().parse_args(arguments[1:]))


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """Each warning is one line; letters that a terminal's encoding lacks are escaped ("\\u2193") and never an error."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")]
    before = [stream.errors for stream in streams]
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {one_line(message)}", file=sys.stderr)
        for stream in streams:
            stream.reconfigure(errors="backslashreplace")
        try:
            yield
        finally:
            for stream, errors in zip(streams, before):
                stream.reconfigure(errors=errors)


def failure(error: Exception) -> str:
    """What an error says, in one line; one that nibkit did not foresee says what it is, too."""
    if isinstance(error, OSError) and error.errno in STDOUT_ERRORS and error.filename is None:  # a file's error names the file
        return f"standard output was closed or is full ({error.strerror}): send it elsewhere and call again"
    if isinstance(error, (OSError, ValueError, TypeError, ImportError)) and (line := one_line(error)):
        return line
    return f"{one_line(error, named=True)} (with NIBKIT_TRACEBACK=1 it shows where)"


def build_explain_parser() -> argparse.ArgumentParser:
    """The arguments of ``nibkit explain``."""
    from .theory.quadrature import RULES

    parser = Parser(
        prog="nibkit explain",
        description=f"Say {COMMANDS['explain']}: a value for each word, and a figure.",
        epilog="Exit status: 0 done, 2 bad input or another failure (one line says what), 130 stopped by Ctrl-C.",
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
    parser.add_argument(
        "--out",
        type=Path,
        help="where the figure goes; it replaces a figure of nibkit's alone (default: dog-explained.png here for dog.jpg)",
    )
    add_replace(parser)
    return parser


def explain(args: argparse.Namespace) -> int:
    """Explain one picture: print the words' values, write the figure; returns the exit status.

    Raises, before the model is loaded, ValueError, FileNotFoundError or OSError of the figure's place, the steps or the picture;
    then what ``load_clip``, ``Clip.prepare`` and ``nib`` raise. ValueError if the model gives no numbers.
    """
    from .checks import MOST_STEPS, check_whole
    from .io.outputs import save_figure

    steps = check_whole("--steps", args.steps, most=MOST_STEPS)
    if args.layer is not None:
        check_whole("--layer", args.layer, least=0)
    out = figure_path(args)

    import torch
    from matplotlib import pyplot as plt

    from .methods.frame import check_layers
    from .methods.nib import nib
    from .model.loading import load_clip
    from .model.pictures import to_rgb
    from .show import plots

    picture = to_rgb(args.picture, "picture")
    clip = load_clip(args.clip, device=args.device)
    layers = check_layers(clip, args.layer, "--layer")
    inputs = clip.prepare(picture, args.caption)
    started = time.perf_counter()
    attribution = nib(clip, inputs, layer=layers, num_steps=steps, rule=args.rule)
    seconds = time.perf_counter() - started
    if not all(torch.isfinite(part).all() for part in (attribution.similarity, attribution.image, attribution.text)):
        raise ValueError(f"{clip.name} gives NaN or infinity for this pair: its weights are damaged, or too large for its dtype")

    with plt.rc_context():
        plots.use_style()
        figure = plots.explain(picture, attribution, title=f"“{args.caption}”")
        try:
            save_figure(figure, out, "--out", dpi=120)
        finally:
            plt.close(figure)
    print(f"similarity {float(attribution.similarity[0]):.3f}   (cosine of picture and caption, {clip.name}, {seconds:.2f} s)")
    for word, value in attribution.words_of(0):
        print(f"{round(value, 4) + 0.0:+.4f}  {word}")  # no minus before 0
    print(f"figure: {out}")
    return 0


def figure_path(args: argparse.Namespace) -> Path:
    """Where the figure goes: ``--out``, or a name made from the picture's; nothing but a figure of ours may lie there."""
    from .io.outputs import check_figure_path, check_replaced

    out: Path = args.out or Path(f"{args.picture.stem}-explained.png")
    check_figure_path("--out", out, [args.picture])
    check_replaced("--out", out, args.replace)
    return out


if __name__ == "__main__":
    sys.exit(main())
