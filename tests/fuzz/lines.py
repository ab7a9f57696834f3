"""Command lines of ``nibkit explain`` and ``nibkit compare``: good, strange and hostile."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path

from nibkit.__main__ import main

from .captions import draw_caption
from .cases import Case, Fault, contents
from .models import change
from .pictures import damage, draw_picture, save
from .results import whole_table

NUMBERS = ["0", "1", "2", "3", "-1", "1.5", "x", "", "1e3", "99999999999999999999", "nan", "0x3", "٣", "100000"]
METHODS = ["nib:num_steps=1", "saliency", "chefer", "gradcam", "nib:num_steps=1,rule=gauss",
           "rise:num_masks=3,num_text_masks=3", "m2ib:num_steps=1", "fastig", "nip", "nib:num_steps=", "nib:steps=3",
           "nib:num_steps=2.5", "nib:num_steps=1,num_steps=2", "nib:", ":", "", "nib:num_steps=__import__('os')",
           "nib:num_steps=99999999", "mfaba:num_steps=1", "nib:layer=99", "nib:rule=x", "legrad",
           "nib:num_steps=" + "[" * 300, "ñib", "saliency:x\0=3"]  # fmt: skip
LINES = 20  # on standard error, the usage left out


class Draw:
    """Parts of a command line: strange with a probability that is one line's own, so that many lines are wholly good."""

    def __init__(self, case: Case):
        self.case, self.strange = case, case.one(0.0, 0.05, 0.2, 0.5)

    def __call__(self, good: list[str], bad: list[str]) -> str:
        return self.case.one(*(bad if self.case.chance(self.strange) else good))

    def number(self, *good: str) -> str:
        return self([*good], NUMBERS)


def draw_out(case: Case, draw: Draw, *endings: str) -> str:
    """A place for an output: new, taken, an input, no place at all."""
    if not case.chance(draw.strange):
        return f"new{case.one(*endings)}"
    return case.one("picture.png", "ours.png", "foreign.pdf", "link.png", "nowhere/x.png", ".", "", "a\0b.png", "x.pgf", "x",
                    "/dev/null", "/dev/full", "/proc/x.png", "x" * 300 + ".png", "model", "data/t.csv", "data/p0.png",
                    "results.sqlite", "-x.png", "日本.png", "\udce9.png", "other.sqlite", "empty.png")  # fmt: skip


def lay_files(case: Case) -> None:
    """What command lines may name."""
    case.world.picture.save("picture.png")
    os.symlink("picture.png", "link.png")
    data, _ = save(case, draw_picture(case))
    Path("strange.png").write_bytes(data)
    broken = bytearray(data)
    damage(case, broken)
    Path("broken.png").write_bytes(broken)
    Path("foreign.pdf").write_bytes(b"precious")
    Path("empty.png").touch()
    Path("other.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 99)
    Path("results.sqlite").write_bytes(whole_table(case.world, case)[0])
    Path("data").mkdir()
    for name in ("p0.png", "p1.png"):
        case.world.picture.save(f"data/{name}")
    Path("data/t.csv").write_text(
        "image,caption\np0.png,a red ring\np1.png,a heart\n" + case.one("", "nowhere.png,x\n", "p0.png\n", "p1.png,x,y,z\n")
    )
    shutil.copytree(case.world.model, "model")
    if case.chance(0.1):
        change(case, Path("model"))


def explain_line(case: Case, draw: Draw) -> tuple[list[str], list[str]]:
    """(arguments, outputs that may be new or changed)."""
    bad = ["strange.png", "broken.png", "nowhere.png", "data", "", "a\0b", "link.png", "/dev/null", "model/config.json"]
    picture = draw(["picture.png", "picture.png", "link.png", "strange.png"], bad)
    line = [
        "explain",
        picture,
        draw_caption(case) if case.chance(draw.strange) else case.one("a red ring", "a", "дом", "日本 🙂"),
    ]
    line += [
        "--steps",
        draw.number("1", "2"),
        "--clip",
        draw(["model"], ["nowhere model", "", "picture.png", "data", "/dev/null"]),
    ]
    outputs = [f"{Path(picture).stem}-explained.png"] if "\0" not in picture else []
    if case.chance(0.6):
        line += ["--out", (out := draw_out(case, draw, ".png", ".svg", ".pdf", ".JPG"))]
        outputs = [out]
    if case.chance(0.2):
        line += ["--layer", draw.number("0", "1", "3")]
    if case.chance(0.2):
        line += ["--rule", draw(["gauss", "midpoint", "adaptive", "sinh", "log-gauss"], ["x", ""])]
    if case.chance(0.1):
        line += ["--device", draw(["cpu"], ["cuda", "mps", "x", "", "cpu:7", "meta"])]
    return line, outputs


def compare_line(case: Case, draw: Draw) -> tuple[list[str], list[str]]:
    methods = [draw(METHODS[:8], METHODS[8:]) for _ in range(case.whole(1, 2))]
    line = ["compare", "--clip", draw(["model"], ["nowhere model"]), "--methods", *methods]
    if case.chance(0.5):
        line += ["--data", "folder", "--path", draw(["data"], ["nowhere", "", "picture.png", "model"])]
    else:
        line += ["--n", draw.number("1", "2")]
    outputs = []
    for option, endings in (("--out", (".sqlite", "")), ("--figure", (".png", ".svg"))):
        if case.chance(0.5):
            line += [option, (out := draw_out(case, draw, *endings))]
            outputs.append(out)
    for option, good in (("--limit", "1"), ("--batch-size", "2"), ("--seed", "3"), ("--timing", "1"), ("--curve-steps", "2")):
        if case.chance(0.15):
            line += [option, draw.number(good)]
    if case.chance(0.2):
        line += ["--summary", draw(["latex", "csv", "markdown"], ["html"])]
    if case.chance(0.15):
        bad = ["image=x", "x", "limit=3", "encoding=utf-99", "delimiter=ab", "captions=wrong", "seed=x", "check=3",
               "caption=[1]", "id=3"]  # fmt: skip
        line += ["--data-options", draw(["caption=caption", "check=False", "table=t.csv"], bad)]
    if case.chance(0.1):
        line += [case.one("--read", "--retry-skipped", "--against", "--protocol")]
        line += ["eos"] if line[-1] == "--protocol" else ["saliency"] if line[-1] == "--against" else []
    return line, outputs


def call(line: list[str]) -> tuple[object, str, str]:
    """(status, standard output, standard error) of the command line, libraries that write to the descriptor included."""
    kept, said = os.dup(2), io.StringIO()
    with tempfile.TemporaryFile() as file, os.fdopen(os.dup(file.fileno()), "w", buffering=1, encoding="utf-8") as told:
        os.dup2(file.fileno(), 2)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told), warnings.catch_warnings():
                warnings.simplefilter("default")
                status: object = main(line)
        except SystemExit as left:
            status = left.code
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        told.flush()
        file.seek(0)
        return status, said.getvalue(), file.read().decode("utf-8", "replace")


def a_line(case: Case) -> str:
    """Call it: done, with what it promises; or a last line "error: …" and status 2. No file has changed but its own outputs."""
    lay_files(case)
    draw = Draw(case)
    line, outputs = explain_line(case, draw) if case.chance(0.6) else compare_line(case, draw)
    picture = line[1]
    if case.chance(0.1):
        line += ["--replace"]
    if case.chance(draw.strange / 3):
        line.insert(place := case.whole(0, len(line)), case.one("--help", "--version", "--x", "", "\ud83d", "-h", "--out", "x"))
        outputs += line[place + 1 : place + 2] if line[place] == "--out" else []
    case.calls += 1
    there = {name for name in contents(case.folder) if name not in ("results.sqlite", "empty.png")}  # what --replace may replace
    inputs = {picture, "other.sqlite"}
    if picture in ("picture.png", "link.png"):
        inputs |= {"picture.png", "link.png"}
    elif "link.png" in outputs:  # which says picture.png
        outputs = [*outputs, "picture.png"]
    inputs |= {f"data/{name}" for name in os.listdir("data")} if "data" in line else set()
    with case.unchanged(*(set(outputs) - inputs - (set() if "--replace" in line else there))):
        status, said, told = call(line)
    errors = [text for text in told.splitlines() if not re.match(r"usage:|\s+(\[|\.\.\.|\w+=)|\s*PICTURE", text)]
    if "Traceback" in told + said:
        raise Fault(f"{line}: a traceback: {told[-500:]}")
    if len(errors) > LINES:
        raise Fault(f"{line}: {len(errors)} lines: {told[:500]}")
    if status == 2:
        if not errors or not errors[-1].startswith("error: ") or "NIBKIT_TRACEBACK" in errors[-1]:
            raise Fault(f"{line}: {errors[-1:]}")
    elif status not in (0, 1):
        raise Fault(f"{line}: status {status}")
    elif status == 0 and line[0] == "explain" and said.startswith("similarity") and not Path(outputs[0]).is_file():
        raise Fault(f"{line}: there is no figure")
    return f"{line[0] if line[0] in ('explain', 'compare') else 'misspelt'}: status {status}"
