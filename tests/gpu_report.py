"""What gpu-check tells: its report, pytest's last line, the machine and the commit."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu_wheels import ROOT

STEPS = ("wheels", "nbval", "tests", "agreement", "bench")
TITLE = "# The project on a GPU\n\nWritten by `make gpu-check`; each part says when, on what and by which command."
FENCE = "```"


class Report:
    """A markdown file with a section a step; a section is written anew whenever there is more to tell."""

    def __init__(self, path: Path):
        self.path = path

    def write(self, step: str, text: str) -> None:
        """Put the step's section in place of the one that was there."""
        before = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        found = re.split(rf"^## ({'|'.join(STEPS)})\n", before, flags=re.M)
        sections = dict(zip(found[1::2], map(str.strip, found[2::2]))) | {step: text.strip()}
        parts = [TITLE, *(f"## {name}\n\n{sections[name]}" for name in STEPS if name in sections)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        temporary.replace(self.path)

    def tell(self, device: str, step: str, text: str, texts: Sequence[str] = ()) -> None:
        """The step's section: when, where and how, the text, and what else there is as one block of code."""
        now, command = datetime.datetime.now(datetime.UTC), shlex.join(["python", *sys.argv])
        heading = f"{now:%Y-%m-%d %H:%M} UTC, {machine(device)}, commit {commit()}, by `{command}`."
        block = "\n\n".join(texts).replace(FENCE, "'''").replace(f"{ROOT}/", "")
        self.write(step, "\n\n".join([heading, text, *([f"{FENCE}text\n{block}\n{FENCE}"] if texts else [])]))


def count(output: str, what: str) -> int:
    """The number that pytest's last line gives for "passed", "failed" or "error"."""
    return sum(int(number) for number in re.findall(rf"(\d+) {what}", last_line(output)))


def last_line(output: str) -> str:
    """The last line, without pytest's frame."""
    return output.splitlines()[-1].strip("= ") if output else "no output"


def machine(device: str) -> str:
    """The device and the versions, in words."""
    import torch
    import transformers

    name = f"the CPU ({platform.machine()})"
    if device == "cuda":
        name = torch.cuda.get_device_name(0)
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            driver = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout.split()
            name += f", driver {driver[0]}" if driver else ""
    return f"{name}, torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"


def commit() -> str:
    """The checkout's commit, with "+" if files differ from it; NIBKIT_COMMIT where that is set; "unknown" outside a checkout."""
    if named := os.environ.get("NIBKIT_COMMIT"):  # the files came without their history
        return named
    found = []
    for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--", ".", ":!data/gpu"]):
        try:
            asked = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        except (OSError, subprocess.SubprocessError):
            return "unknown"
        found.append(asked.stdout.strip())
    return found[0] + ("+" if found[1] else "")
