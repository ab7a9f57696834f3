"""``python -m fuzz --minutes 30 --seed 0``: the kinds in turn until the time is up, a table of what became of the cases."""

from __future__ import annotations

import argparse
import faulthandler
import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ENVIRONMENT = {"NIBKIT_DEVICE": "cpu", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
if __name__ == "__main__":
    os.environ |= ENVIRONMENT  # before the libraries are imported: that is when they read it

from .cases import Outcome, World, run  # noqa: E402
from .kinds import KINDS  # noqa: E402


def main() -> int:
    """Run the cases; returns 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="fuzz", description=sys.modules["fuzz"].__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--case", help="run this one alone, pictures-0-137 for example, and show its traceback")
    parser.add_argument(
        "--keep", type=Path, default=Path("build/fuzz"), help="where failing cases are kept (default: build/fuzz)"
    )
    args = parser.parse_args()
    if not args.minutes > 0 or args.seed < 0:
        parser.error(f"--minutes {args.minutes:g} --seed {args.seed}: minutes are above 0, a seed is 0 or more")
    case = re.fullmatch(rf"({'|'.join(KINDS)})-(\d+)-(\d+)", args.case or "")
    if args.case is not None and not case:
        parser.error(f"--case {args.case!r}: give KIND-SEED-NUMBER, such as pictures-0-137, of a kind in {', '.join(KINDS)}")
    keep = args.keep.absolute()
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--keep {args.keep}: {error.strerror}")
    running = keep / f"running-{os.getpid()}"  # after a crash it says which case it was
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        if case:
            outcome = run(case[1], int(case[2]), int(case[3]), KINDS, world, keep)
            print(outcome.trace or f"{outcome.name}: {outcome.what}")
            return bool(outcome.fault)
        outcomes: list[Outcome] = []
        end, number = time.monotonic() + 60 * args.minutes, 0
        while time.monotonic() < end:
            for kind in args.kinds:
                running.write_text(f"{kind}-{args.seed}-{number}\n")
                outcomes.append(run(kind, args.seed, number, KINDS, world, keep))
                if outcomes[-1].fault:
                    print(f"{outcomes[-1].name}: {outcomes[-1].fault[:300]}", file=sys.stderr, flush=True)
            number += 1
    print(table(outcomes, args.seed, args.minutes))
    running.unlink(missing_ok=True)
    return any(outcome.fault for outcome in outcomes)


def table(outcomes: list[Outcome], seed: int, minutes: float) -> str:
    """The cases by kind and outcome, as markdown, and the names of those where a promise was broken."""
    lines = [f"seed {seed}, {minutes:g} minutes", "", "| kind | cases | calls | broken | outcomes |", "|---|--:|--:|--:|---|"]
    for kind in dict.fromkeys(outcome.name.rsplit("-", 2)[0] for outcome in outcomes):
        some = [outcome for outcome in outcomes if outcome.name.rsplit("-", 2)[0] == kind]
        counts = Counter(outcome.what for outcome in some if not outcome.fault)
        told = ", ".join(f"{what} {count}" for what, count in counts.most_common())
        broken = sum(bool(outcome.fault) for outcome in some)
        lines.append(f"| {kind} | {len(some)} | {sum(outcome.calls for outcome in some)} | {broken} | {told} |")
    lines += ["", *(f"{outcome.name}: {outcome.fault[:200]}" for outcome in outcomes if outcome.fault)]
    return "\n".join(lines)


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main())
