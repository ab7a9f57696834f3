"""Pages that are made, not written: the ledger, the speed figures, the public names, and the start page's picture.

python -m tools.pages    # or make pages; make notebooks does it too
"""

from __future__ import annotations

import inspect
import re
from collections import Counter

import nbformat
import pandas as pd

import nibkit as nk
from benchmarks.tables import markdown, table
from nibkit.course.claims import kind_of, read_ledger
from nibkit.io.outputs import written_whole

from .book import PICTURE, ROOT, first_picture
from .items import KINDS, item_table, topic_table

MADE = "<!-- Made by `make pages` from {source}: change that, not this page. -->\n\n"
TITLES = {"fails": "What fails", "holds if": "What holds under a condition", "holds": "What holds"}  # by how a verdict begins
SOURCES = {"paper": "the paper's own sentences", "reading": "the paper as we read it", "ours": "our own findings"}
README_MARKS = "<!-- claims: written by make pages -->", "<!-- end of claims -->"
ROOMS = {
    "methods": "Explanations",
    "model": "Models and inputs",
    "metrics": "Metrics",
    "evaluation": "Comparisons",
    "show": "Figures",
    "data": "Pictures and captions",
    "theory": "Theory",
    "course": "The paper and the ledger",
    "resources": "Stored results",
}
CLAIMS = """# The ledger

Every claim that the notebooks assert, and whether it *holds*, *holds if …* or *fails*. A claim that is wrong is asserted *as
failing*, with the figure that shows it. `data/claims.csv` is the same list with the tolerance of each assertion; a test holds
ledger and notebooks together.

Whose claim it is stands beside it. *Paper*: the paper says it, and its own words are quoted. *Reading*: the text of the paper
that we have has lost its formulas, so that some had to be rebuilt, and some sentences can be read in more than one way; how we
read them is said. *Ours*: what we found, about textbook facts, other methods or this package's models. **Only rows of the paper
count when it is said what of the paper holds or fails.** A verdict holds for what it was tried on: theory (none), or the models
that are named.
"""
ITEMS = """## The paper, item by item

Where each equation, theorem, table and appendix is tested. Only rows in the paper's own words count for or against it (*holds*,
*holds if*, *fails*); *other rows* are readings of it, textbook facts and findings of our own. We chose which sentences to try,
and looked where it hurts: the share that fails is no grade for the paper.
"""
SPEED = """# Speed

`make bench` (about 15 minutes) measures NIB in one run, as ratios, on random weights in CLIP's geometries: against a plain loop
that works as the published code does (a step at a time, captions one by one, weight gradients computed), against Captum's
`IntegratedGradients` at the same cut (also through nibkit's own tail), against the floor (the operations that NIB's way counts,
at the machine's own rate of large matrix products), and against the seven other methods and `nk.interactions`.

What is gained, all of it exact (`nibkit/model/blocks.py` has the derivations): steps and pairs are folded into batches, captions
of like length go together, no weight gradient is computed; the first block behind the cut makes its products once a pair, not
once a step; the last block makes no keys and values of all tokens, only what the one position that is read needs; F(0) is
computed once a call. What is not: for a single caption Captum is faster. With so few tokens every pass costs the reading of the
weights, and NIB also returns F(z) and F(0), which Captum is not asked for (*captum, with gap* is asked for them).

On a GPU small batches are bound by starting kernels, not by computing: for one pair of ViT-B/32 an H100 computes for 6 of 98
milliseconds, and Captum, which starts fewer, is faster up to eight pairs. At 256 nibkit is, and against the plain loop, which
takes captions one by one, it is a hundred times as fast. So give a GPU many pairs at once.

Fewer bits: inside `with torch.autocast("cuda", torch.bfloat16):` `nk.nib` keeps float32 weights, layer norms and sums. The
values' order hardly changes (table *Fewer bits*, measured on a CPU, where it takes longer). Weights in bfloat16
(`NIBKIT_DTYPE=bfloat16`) change it more: not advised.

`cpu-large` has two sizes of an earlier run on the same machine, for which the last had no time.

To add your machine's figures: `cp build/bench.csv data/bench/MACHINE.csv`, the `.png` likewise, and `make pages`.
"""


def made_pages() -> dict[str, bytes]:
    """Every generated file: its path in the repository, and what it must hold."""
    first = nbformat.read(next((ROOT / "notebooks").glob("00_*.ipynb")), as_version=4)
    text = {
        "docs/claims.md": claims_page(),
        "docs/speed.md": speed_page(),
        "docs/api.md": api_page(),
        "README.md": readme(),
    }
    return {name: page.encode() for name, page in text.items()} | {PICTURE: first_picture(first)}


def readme() -> str:
    """README.md with the number of claims in it renewed: the paper's own sentences first, since only they judge the paper."""
    text, counts = (ROOT / "README.md").read_text(encoding="utf-8"), Counter()
    for row in read_ledger().values():
        counts[row["source"], kind_of(row["verdict"])] += 1
    lines = []
    for source, title in SOURCES.items():
        numbers = [counts[source, kind] for kind in KINDS]
        lines.append([title, *map(str, numbers), str(sum(numbers))])
    claims = table(["[the ledger](docs/claims.md)", *(f"*{kind}*" for kind in KINDS), "claims"], lines)
    before, _, rest = text.partition(README_MARKS[0])
    return f"{before}{README_MARKS[0]}\n{claims}\n{README_MARKS[1]}{rest.partition(README_MARKS[1])[2]}"


def claims_page() -> str:
    """The ledger: claims by notebook and verdict, all of them, each with an anchor (``claims.md#T1.2``), by item of the paper."""
    rows = list(read_ledger().values())
    counts = Counter((row["notebook"], kind_of(row["verdict"])) for row in rows)
    totals = Counter(kind_of(row["verdict"]) for row in rows)
    by_notebook = [
        [link(notebook.replace("_", " "), notebook), *(str(counts[notebook, kind]) for kind in KINDS)]
        for notebook in sorted({row["notebook"] for row in rows})
    ]
    by_notebook.append([f"**all {len(rows)}**", *(f"**{totals[kind]}**" for kind in KINDS)])
    pieces = [CLAIMS, table(["notebook", *(f"*{kind}*" for kind in KINDS)], by_notebook)]
    for kind, title in TITLES.items():
        pieces.append(f"## {title}: {totals[kind]} claims")
        for source, whose in SOURCES.items():
            chosen = [row for row in rows if kind_of(row["verdict"]) == kind and row["source"] == source]
            if chosen:
                pieces += [f"### {title}: {whose}", ledger_table(sorted(chosen, key=lambda row: row["notebook"]))]
    pieces += [ITEMS, topic_table(rows), "(A sentence that cites two parts counts in both.)", item_table(rows)]
    return MADE.format(source="data/claims.csv") + "\n\n".join(pieces) + "\n"


def ledger_table(rows: list[dict[str, str]]) -> str:
    """Rows of the ledger as a table in Markdown."""
    lines = []
    for row in rows:
        anchor = f'<a id="{row["id"]}"></a>{link(row["id"], row["notebook"])}'
        lines.append([anchor, *(escaped(row[column]) for column in ("quote", "claim", "model", "verdict"))])
    return table(["id", "in the paper", "claim", "tried on", "verdict"], lines, left=5)


def speed_page() -> str:
    """What ``make bench`` measured, machine by machine."""
    pieces = [SPEED]
    for path in sorted((ROOT / "data" / "bench").glob("*.csv")):
        pieces += [f"## {path.stem}", markdown(pd.read_csv(path)), f"![NIB's cost](../data/bench/{path.stem}.png)"]
    return MADE.format(source="data/bench") + "\n\n".join(pieces) + "\n"


def api_page() -> str:
    """The public names by room, for Sphinx to fill in from their docstrings."""
    modules = nk._MODULES | nk._NAMES
    pieces = [
        "# The public names",
        "What `import nibkit as nk` offers, with the docstrings as they stand in the code. Where to start: "
        "{func}`nk.nib <nibkit.nib>` explains, {func}`nk.load_clip <nibkit.load_clip>` loads, "
        "{class}`nk.Attribution <nibkit.Attribution>` is the result.",
    ]
    for room, title in ROOMS.items():
        names = [name for name in nk.__all__ if modules[name].split(".")[0] == room]
        pieces += [f"## {title}"] if names else []
        for name in sorted(names, key=lambda name: (name in nk._MODULES, name != "nib", name)):
            pieces.append(f"### nk.{name}\n\n```{{eval-rst}}\n{directive(name, modules[name])}\n```")
    return MADE.format(source="nibkit/__init__.py") + "\n\n".join(pieces) + "\n"


def directive(name: str, module: str) -> str:
    """Sphinx's order to write about one public name."""
    value = getattr(nk, name)
    if inspect.ismodule(value):
        return f".. automodule:: nibkit.{module}\n   :members:"
    if inspect.isclass(value):
        return f".. autoclass:: nibkit.{name}\n   :members:\n   :inherited-members:"
    if callable(value):
        return f".. autofunction:: nibkit.{name}"
    return f".. py:currentmodule:: nibkit\n\n.. py:data:: {name}\n\n   By name: {', '.join(value)}."  # a module may stand before


def link(text: str, notebook: str) -> str:
    """A link to a notebook, from a page of docs/."""
    return f"[{escaped(text)}](../notebooks/{notebook}.ipynb)"


def escaped(text: str) -> str:
    """Plain text as markdown that shows it letter by letter, also in a cell of a table."""
    return re.sub(r"([\\`*_<|$~\[\]])", r"\\\1", text)


def main() -> None:
    """Write what has changed."""
    for name, content in made_pages().items():
        path = ROOT / name
        if not path.exists() or path.read_bytes() != content:
            with written_whole(path) as file:
                file.write_bytes(content)
            print(f"written: {name}")


if __name__ == "__main__":
    main()
