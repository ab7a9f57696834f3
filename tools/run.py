"""Run the notebooks headless, each in a fresh kernel, and render them.

python tools/run.py              # run all, write linked pages to build/html
python tools/run.py 03 07        # only those whose name begins so
python tools/run.py --inplace    # run all and store the outputs in notebooks/
python tools/run.py --stored     # run nothing: pages from the outputs that the notebooks hold
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import html
import io
import os
import re
import signal
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from PIL import Image, ImageOps
from tqdm import tqdm

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # in kernels: spinning threads cost twentyfold on some virtual machines
FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>nibkit</title>
<style>body{{font:1.1em/1.6 sans-serif;max-width:46em;margin:3em auto;padding:0 1em}}td{{padding:.2em 1.5em .2em 0}}</style>
<h1>The Narrowing Information Bottleneck, step by step</h1><table>{rows}</table></html>"""


def main() -> int:
    """Run, store or render, and sum up; the exit status is 1 if a notebook failed, 130 if interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of notebook names, for example 07; default: all")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--inplace", action="store_true", help="store the outputs in the notebooks themselves")
    mode.add_argument("--stored", action="store_true", help="run nothing, render the outputs that are stored")
    parser.add_argument("--out", type=Path, default=FOLDER.parent / "build", help="where the pages go (default: build)")
    args = parser.parse_args()
    paths = sorted(FOLDER.glob("*.ipynb"))
    unknown = [name for name in args.names if not any(p.name.startswith(name) for p in paths)]
    if unknown or not paths:
        print(f"no notebook of that name in {FOLDER.name}/: {' '.join(unknown) or '*.ipynb'}", file=sys.stderr)
        return 1
    if args.names:
        paths = [p for p in paths if p.name.startswith(tuple(args.names))]
    done: list[tuple[Path, nbformat.NotebookNode, float]] = []
    with tqdm(paths, unit="notebook", file=sys.stdout) as bar:
        for path in bar:
            bar.set_postfix_str(path.stem)
            started = time.perf_counter()
            notebook = nbformat.read(path, as_version=4)
            try:
                if not args.stored:
                    execute(notebook)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                bar.close()
                print(f"\n{path.name} failed in {failed_cell(notebook)}\n{strip_colors(str(error))}", file=sys.stderr)
                return 1
            done.append((path, notebook, time.perf_counter() - started))
            if args.inplace:
                nbformat.write(tidy(notebook), path)
    if not args.stored:
        sum_up(done)
    if not args.inplace:
        render(done, Path(os.path.relpath(args.out)), timed=not args.stored)
    return 0


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run every cell from a fresh kernel, in the notebooks' folder; Ctrl-C ends the kernel and raises KeyboardInterrupt."""
    interrupted = []

    def listen(**_) -> None:  # nbclient's own handler would report the kernel's end as a crash
        cancel = asyncio.current_task().cancel
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: (interrupted.append(True), cancel()))

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
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


def render(done: list, out: Path, timed: bool) -> None:
    """Linked pages and an index in ``out``/html, the first explanation as ``out``/first-explanation.png; says where to look."""
    pages = out / "html"
    pages.mkdir(parents=True, exist_ok=True)
    exporter = HTMLExporter()
    rows = []
    for path, notebook, seconds in done:
        body, _ = exporter.from_notebook_node(notebook)
        (pages / f"{path.stem}.html").write_text(re.sub(r'href="([0-9]{2}_\w+)\.ipynb', r'href="\1.html', body), encoding="utf-8")
        took = f"{seconds:.0f} s" if timed else ""
        rows.append(f'<tr><td><a href="{path.stem}.html">{html.escape(title_of(notebook))}</a></td><td>{took}</td></tr>')
    (pages / "index.html").write_text(PAGE.format(rows="\n".join(rows)), encoding="utf-8")
    first = [n for path, n, _ in done if path.name.startswith("00_")]
    outputs = [o for notebook in first for cell in notebook.cells for o in cell.get("outputs", [])]
    pictures = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    print(f"look at: {pages / 'index.html'}")
    if pictures:
        (out / "first-explanation.png").write_bytes(base64.b64decode(pictures[0]))
        print(f"the first explanation: {out / 'first-explanation.png'}")


def sum_up(done: list) -> None:
    """Notebooks, seconds, claims asserted."""
    print()
    claims = 0
    for path, notebook, seconds in done:
        text = "".join(o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream")
        count = sum(line.startswith("✓ ") for line in text.splitlines())
        claims += count
        print(f"{path.stem:32s} {seconds:6.1f} s   {count:3d} claims")
    print(
        f"{len(done)} notebooks, {sum(s for *_, s in done):.0f} s, {claims} claims asserted, all of them held as the ledger says"
    )


def title_of(notebook: nbformat.NotebookNode) -> str:
    """The first heading."""
    return next(line.lstrip("# ") for cell in notebook.cells for line in cell.source.splitlines() if line.startswith("# "))


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
