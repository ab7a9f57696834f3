"""Run the notebooks headless, each in a fresh kernel, and make the book of what they gave.

python -m tools.run              # run all; the book is then in build/book, the notebooks stay as they are
python -m tools.run 03 07        # only those whose name begins so; the others are in the book with their stored outputs
python -m tools.run --inplace    # run all and store the outputs in notebooks/, without a book

Two notebooks run at a time, a thread each, where there are two cores; one after the other where outputs are stored, since some
are times (--jobs says otherwise).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image, ImageOps
from tqdm import tqdm

from nibkit.io.outputs import written_whole

from .book import BUILD, build_book, check_place, first_picture
from .student import FOLDER, chosen

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # in kernels: spinning threads cost twentyfold on some virtual machines


class Run(NamedTuple):
    """A notebook that ran: where it is stored, what it holds now, how long it took."""

    path: Path
    notebook: nbformat.NotebookNode
    seconds: float


def main() -> int:
    """Run, store or build the book, and sum up; the exit status is 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of notebook names, for example 07; default: all")
    parser.add_argument("--inplace", action="store_true", help="store the outputs in the notebooks themselves")
    parser.add_argument("--out", type=Path, default=BUILD, help="where the book's folder goes (default: build)")
    parser.add_argument("--jobs", type=int, help="how many notebooks run at a time (default: 2, or 1 with --inplace)")
    args = parser.parse_args()
    try:
        paths = chosen(args.names, FOLDER)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    jobs = args.jobs if args.jobs is not None else 1 if args.inplace else min(2, os.cpu_count() or 1)
    if jobs < 1:
        parser.error(f"--jobs must be 1 or more; got {jobs}")
    runs: list[Run] = []
    try:
        if not args.inplace:
            check_place(args.out.resolve())
        with tqdm(total=len(paths), unit="notebook", file=sys.stdout) as bar:
            for run in run_all(paths, min(jobs, len(paths))):
                runs.append(run)
                bar.set_postfix_str(run.path.stem)
                bar.update()
                if args.inplace:
                    with written_whole(run.path) as file:
                        nbformat.write(run.notebook, file)
                elif run.path.name.startswith("00_"):
                    bar.write(f"the first explanation: {os.path.relpath(keep_first_picture(run, args.out))}")
        sum_up(sorted(runs, key=lambda run: run.path))
        if not args.inplace:
            page = build_book(args.out.resolve(), {run.path.name: run.notebook for run in runs})
            print(f"look at: {os.path.relpath(page)}")
    except RuntimeError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def run_all(paths: list[Path], jobs: int) -> Iterator[Run]:
    """Run the notebooks, ``jobs`` at a time, each of them then in a process with one thread; they come as they end."""
    if jobs == 1:
        yield from map(run_notebook, paths)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), one_thread) as pool:
        try:
            for done in as_completed([pool.submit(run_notebook, path) for path in paths]):
                yield done.result()
        finally:  # after a failure, or Ctrl-C, those that run end, and no other begins
            pool.shutdown(wait=False, cancel_futures=True)


def one_thread() -> None:
    """For this process and its kernels: the cores are shared out already."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def run_notebook(path: Path) -> Run:
    """Run one notebook; RuntimeError with the cell and the error if it fails."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    try:
        execute(notebook, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise RuntimeError(f"{path.name} failed in {failed_cell(notebook)}\n{strip_colors(str(error))}") from error
    seconds = time.perf_counter() - started
    return Run(path, tidy(notebook), seconds)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run every cell from a fresh kernel, in the folder; Ctrl-C ends the kernel and raises KeyboardInterrupt."""
    interrupted = False

    def listen(**_: Any) -> None:  # nbclient's own handler would report the kernel's end as a crash
        task = asyncio.current_task()

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            if task is not None:
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=CRITICAL"],  # errors come as outputs; the kernel's own log would tear the bar
        on_notebook_start=listen,
    )
    try:
        client.execute()
    except (DeadKernelError, asyncio.CancelledError):
        if interrupted:
            raise KeyboardInterrupt from None
        raise


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what changes from run to run, so that a second run gives no diff: times, versions, widget states."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i:03d}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)
            if "image/png" in data:
                data["image/png"] = lighten(data["image/png"])
    return notebook


def lighten(png: str) -> str:
    """A base64 PNG with 64 levels a channel in place of 256: pictures with noise in them shrink, colours stay."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        small = ImageOps.posterize(image.convert("RGB"), 6).point(lambda level: level * 255 // 252)  # white stays white
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def keep_first_picture(run: Run, out: Path) -> Path:
    """Write the notebook's first picture as ``out``/first-explanation.png; returns the file."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "first-explanation.png"
    with written_whole(file) as beside:
        beside.write_bytes(first_picture(run.notebook))
    return file


def sum_up(runs: list[Run]) -> None:
    """Print seconds and claims, notebook by notebook and in all."""
    print()
    claims = 0
    for path, notebook, seconds in runs:
        outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
        count = sum('<div class="claim"' in output.get("data", {}).get("text/html", "") for output in outputs)
        claims += count
        print(f"{path.stem:32s} {seconds:6.1f} s   {count:3d} claims")
    seconds = sum(run.seconds for run in runs)
    print(f"{len(runs)} notebooks, {seconds:.0f} s added up, {claims} claims asserted, all of them held as the ledger says")


def failed_cell(notebook: nbformat.NotebookNode) -> str:
    """``cell 7 (first line)``: the cell with an error, else the first that the kernel never answered."""
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip():
            answered = "shell.execute_reply" in cell.metadata.get("execution", {})
            if answered and not any(o.output_type == "error" for o in cell.outputs):
                continue
            return f"cell {i} ({cell.source.strip().splitlines()[0]})"
    return "an unknown cell"


def strip_colors(text: str) -> str:
    """Without a terminal's colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted; what --inplace had stored before stays", file=sys.stderr)
        sys.exit(130)
