"""The notebooks' rules: run top to bottom, compared for real, small, built alike."""

import json
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
# How many cells nbval must really compare in each notebook: text that it could find wrong, a bare <Figure …> not counted.
COMPARED = {
    "00_start_here": 7,
    "01_information_bottleneck": 23,
    "02_bottleneck_attribution": 22,
    "03_theorem_1": 26,
    "04_theorem_2": 22,
    "05_theorem_3": 32,
    "06_axioms": 32,
    "07_clip_attribution": 21,
    "08_baselines": 26,
    "09_metrics": 30,
    "10_benchmark": 26,
    "11_ablations": 20,
    "12_interactions": 19,
    "13_open_questions": 6,
}
# What takes a cell out of the comparison: a tag, or nbval's comment of the same name.
UNCOMPARED_TAGS = {"nbval-ignore-output", "nbval-skip", "nbval-raises-exception", "raises-exception"}
UNCOMPARED_COMMENT = re.compile(r"^\s*#+\s*(NBVAL_(IGNORE_OUTPUT|SKIP|RAISES_EXCEPTION)|PYTEST_VALIDATE_IGNORE_OUTPUT)\s*$", re.M)

by_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)


def code_cells(path: Path) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def compared(cell) -> bool:
    """Has the cell an output that nbval compares and that could be wrong?"""
    if UNCOMPARED_TAGS & set(cell.metadata.get("tags", [])) or UNCOMPARED_COMMENT.search(cell.source):
        return False
    texts = [o.text if o.output_type == "stream" else o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return any(text.strip() and not re.fullmatch(r"<Figure size .* with \d+ Axes>", text.strip()) for text in texts)


def test_every_notebook_has_a_floor_and_every_floor_a_notebook():
    assert {p.stem for p in PATHS} == set(COMPARED)


@by_notebook
def test_was_run_from_top_to_bottom_in_a_fresh_kernel(path):
    counts = [c.execution_count for c in code_cells(path) if c.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


@by_notebook
def test_outputs_are_clean(path):
    assert path.stat().st_size < 1e6
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            if "image/png" in output.get("data", {}):
                assert output.metadata["image/png"]["alt"], "a figure without alternative text: nk.plots.use_style() gives it one"
            assert output.get("name") != "stderr", output.text
            assert not {"image/svg+xml", "application/pdf"} & set(output.get("data", {})), cell.source
            shown = [str(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
            text = "\n".join([output.get("text", ""), *shown])
            assert not re.search(r"/home/|/tmp/|/usr/|\bcuda\b|device\(|\b\d+\.\d+\.\d+\b", text), text


@by_notebook
def test_enough_cells_are_really_compared(path):
    count = sum(compared(c) for c in code_cells(path))
    assert path.stem in COMPARED, f"give {path.stem} a floor in COMPARED: nbval compares {count} of its cells"
    assert count >= COMPARED[path.stem], f"nbval compares {count} cells, {COMPARED[path.stem]} at least are expected"


@by_notebook
def test_is_built_like_the_others(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and re.match(r"# \d\d · ", cells[0].source)
    assert "**Time**" in cells[0].source and cells[1].cell_type == "code" and "import nibkit as nk" in cells[1].source
    headings = re.findall(r"^#{1,3} (.+)$", "\n".join(c.source for c in cells if c.cell_type == "markdown"), re.M)
    positions = [headings.index(name) for name in ("What we found", "Exercises", "References")]
    assert positions == sorted(positions)
    for cell in cells:
        if cell.cell_type == "code":
            assert cell.source.strip(), "an empty code cell"
            assert len(cell.source.splitlines()) <= 30, cell.source
            assert max(map(len, cell.source.splitlines())) <= 88, cell.source  # a page clips what is longer


@by_notebook
def test_opens_and_ends_like_the_others(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    opening, ending = texts[0], next(text for text in texts if "## What we found" in text)
    assert re.search(r"\*\*[^*]+\?\*\*", opening), "the opening asks a question, in bold"
    assert "**After this notebook you can**" in opening
    assert re.search(r"^\*\*Time\*\* \d+ minutes.*, \d+ more with all exercises · \*\*You need\*\* .+\.$", opening, re.M)
    marks = [ending.find(mark) for mark in ("## What we found", "*Measured on", "*Not shown", "**Next:**", "## Exercises")]
    assert marks == sorted(marks) and marks[0] >= 0, "what we found, measured on, not shown, next, exercises"


@by_notebook
def test_exercises_are_headed_alike_and_their_hints_are_folded(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    tasks = [text for text in texts if re.search(r"^\*\*\d+\. .+?\*\* \((easy|medium|hard), \d+ minutes\)\. ", text, re.M)]
    headed = sum(bool(re.search(r"\((easy|medium|hard\w*), \d+ minutes", text)) for text in texts)
    assert len(tasks) == headed >= 2
    for text in tasks:
        assert "<details><summary>Hint" in text and "*Hint" not in text, text[:60]


@by_notebook
def test_exercises_have_a_solution_and_a_check_that_does_not_use_it(path):
    cells = code_cells(path)
    solved = [i for i, c in enumerate(cells) if c.metadata.get("nbgrader", {}).get("solution")]
    assert len(solved) >= 2
    for i in solved:
        lines = [line.strip() for line in cells[i].source.splitlines()]
        assert lines.index("### BEGIN SOLUTION") < lines.index("### END SOLUTION")
        assert "assert" in cells[i + 1].source and "SOLUTION" not in cells[i + 1].source


@by_notebook
def test_links_lead_somewhere(path):
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (FOLDER / target).exists(), target


def test_rules_can_fail(tmp_path):
    """A notebook with a bare figure, an unexecuted cell and no floor would be caught."""
    figure = nbformat.v4.new_code_cell(
        "plot()", outputs=[nbformat.v4.new_output("display_data", {"text/plain": "<Figure size 5x5 with 1 Axes>"})]
    )
    printed = nbformat.v4.new_code_cell("print(1)", outputs=[nbformat.v4.new_output("stream", text="1\n")])
    assert not compared(figure) and compared(printed)
    printed.metadata["tags"] = ["nbval-ignore-output"]
    assert not compared(printed)
    printed.metadata["tags"], printed.source = [], "# NBVAL_IGNORE_OUTPUT\nprint(1)"
    assert not compared(printed)
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=[figure])))
    assert [c.execution_count for c in code_cells(path)] == [None]
