"""Check the project on a GPU, also on a machine that has PyTorch and transformers but no network: ``make gpu-check``.

    python tests/gpu_check.py                         # all steps
    python tests/gpu_check.py --steps nbval tests     # some of them, where a command may not take long

Steps
    wheels     install what is missing from build/wheels (``make wheels`` fetches them) into build/site
    nbval      run every notebook on the device and compare each output with the stored one
    tests      the unit tests that are about the device
    agreement  each method against the CPU: float32, TF32, bfloat16
    bench      the speed figures

Each step writes its part of data/gpu/report.md as it goes: a run that is cut off leaves what it had, and a later run replaces
only the steps that it runs. The exit status is 1 if something failed, 2 if nothing could be run. With --device cpu, or on a
pretended device (``pretend_cuda``), the script itself can be tried: the report then goes to build/gpu.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from gpu_report import STEPS, Report, count, last_line, machine
from gpu_wheels import CARRIED, EXPECTED, ROOT, WHEELS, missing, wheel_of

NOTEBOOKS = ROOT / "notebooks"
SITE = ROOT / "build" / "site"
OUT = ROOT / "build" / "gpu"
SPEED = ("10_benchmark",)  # notebooks that assert ratios of times: they have the device for themselves
TESTS = ("test_gpu.py", "on_device.py", "metrics/test_costs.py")


class Check:
    """One run: its options, the processes that it starts, the report. Each step returns whether all is well."""

    def __init__(self, args: argparse.Namespace, report: Report):
        self.args, self.report = args, report
        self.running: set[subprocess.Popen] = set()
        path = [str(SITE), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.environment = os.environ | {
            "NIBKIT_DEVICE": args.device,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the machine's own plugins are not what is tested
            "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // args.workers)),
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
        }

    def run(self, command: Sequence[str]) -> tuple[str, int]:
        """(output, exit status); status 124 if it took too long."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that all that it starts can be ended with it
        )
        self.running.add(process)
        try:
            return process.communicate(timeout=self.args.patience)[0], process.returncode
        except subprocess.TimeoutExpired:
            end(process)
            return f"{process.communicate()[0]}\nstopped after {self.args.patience:.0f} s", 124
        finally:
            self.running.discard(process)

    def pytest(self, *arguments: str) -> tuple[str, int]:
        """A pytest without the project's "warnings are errors": other versions warn of other things."""
        common = ["-p", "nbval.plugin", "-p", "no:cacheprovider", "-q", "-W", "default", "--color=no"]
        output, status = self.run([sys.executable, "-m", "pytest", *common, *arguments])
        return re.sub(r"\x1b\[[0-9;]*m", "", output).strip(), status

    def stop(self) -> None:
        """End every child."""
        for process in list(self.running):
            end(process)

    # --- the steps --------------------------------------------------------------------------------------------------------------

    def wheels(self) -> bool:
        """Install what is missing."""
        absent = missing(CARRIED)
        wheels = [wheel_of(name, self.args.wheels) for name in absent]
        if None in wheels:
            name = absent[wheels.index(None)]
            raise LookupError(
                f"{name} is neither installed nor in {self.args.wheels}: run `make wheels` where there is a network"
            )
        if absent:
            how = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile", "--upgrade"]
            output, status = self.run([sys.executable, "-m", "pip", "install", *how, "--target", str(SITE), *map(str, wheels)])
            if status:
                raise LookupError(f"the wheels of {self.args.wheels} can't be installed: {output.strip()[-500:]}")
        print(f"installed: {', '.join(absent) or 'nothing, all was there'}", flush=True)
        return True

    def nbval(self) -> bool:
        """Every notebook on the device, several at a time; those that compare times, alone."""
        sys.path.append(str(ROOT / "tests" / "house"))
        from test_notebooks import code_cells, compared

        paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if path.name.startswith(tuple(self.args.notebooks))]
        rows: dict[str, tuple] = {}
        failures: list[str] = []

        def validate(path: Path) -> tuple[Path, str, int, float]:
            started = time.perf_counter()
            how = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "300"]
            how += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
            return path, *self.pytest(str(path), *how), time.perf_counter() - started

        def tell(path: Path, output: str, status: int, seconds: float) -> None:
            passed, failed = count(output, "passed"), count(output, "failed") + count(output, "error")
            rows[path.stem] = sum(map(compared, code_cells(path))), passed, failed, seconds
            print(f"{path.stem:32s} {passed:3d} passed {failed:3d} failed {seconds:6.1f} s", flush=True)
            if status:
                failures.append(f"{path.stem}, exit status {status}:\n{output[-3000:]}")
            total = [sum(row[i] for row in rows.values()) for i in range(3)]
            lines = ["| notebook | outputs compared | cells passed | cells failed | seconds |", "|---|--:|--:|--:|--:|"]
            lines += [f"| {name} | {a} | {b} | {c} | {s:.0f} |" for name, (a, b, c, s) in sorted(rows.items())]
            lines += [f"| **{len(rows)} of {len(paths)}** | **{total[0]}** | **{total[1]}** | **{total[2]}** | |"]
            self.report.tell(self.args.device, "nbval", "\n".join(lines), failures)

        with ThreadPoolExecutor(self.args.workers) as pool:
            try:
                for done in as_completed([pool.submit(validate, path) for path in paths if path.stem not in SPEED]):
                    tell(*done.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise
        for path in paths:
            if path.stem in SPEED:
                tell(*validate(path))
        return bool(paths) and not failures

    def tests(self) -> bool:
        """The unit tests about the device."""
        output, status = self.pytest(*(str(ROOT / "tests" / name) for name in TESTS))
        print(last_line(output), flush=True)
        text = f"{', '.join(TESTS)}: {last_line(output)}"
        self.report.tell(self.args.device, "tests", text, [output[-5000:]] if status else [])
        return status == 0

    def agreement(self) -> bool:
        """Each method against the CPU."""
        script = str(ROOT / "tests" / "gpu_agreement.py")
        output, status = self.run([sys.executable, script, "--device", self.args.device, *shlex.split(self.args.agreement)])
        print(output, flush=True)
        table, _, verdict = output.partition("\n\n")
        rows = [line for line in table.splitlines() if line.startswith("|")]
        self.report.tell(self.args.device, "agreement", "\n".join([*rows, "", verdict]), [output[-3000:]] if status else [])
        return status == 0

    def bench(self) -> bool:
        """The speed figures."""
        OUT.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.speed", "--out", str(OUT / "bench.csv"), *shlex.split(self.args.bench)]
        output, status = self.run(command)
        print(output, flush=True)
        self.report.tell(self.args.device, "bench", f"Exit status {status}.", [output.strip()[-20000:]])
        return status == 0


def end(process: subprocess.Popen) -> None:
    """Kill a process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def obstacle(device: str) -> str | None:
    """What stands in the way, in one line; None: nothing."""
    if sys.version_info < (3, 11):  # noqa: UP036
        return f"nibkit needs Python 3.11 or newer, this is {platform.python_version()}"
    if absent := missing(EXPECTED):
        return f"{sys.executable} lacks {', '.join(absent)}: take a Python that has PyTorch for the GPU and transformers"
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device: run this on a machine that has one"
    return None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--notebooks", nargs="+", default=[""], metavar="NAME", help="beginnings of names, such as 07")
    parser.add_argument("--workers", type=int, default=max(1, min(6, (os.cpu_count() or 1) // 2)), help="notebooks at a time")
    parser.add_argument("--patience", type=float, default=560, metavar="SECONDS", help="with one process (default: 560)")
    parser.add_argument("--wheels", type=Path, default=Path(os.environ.get("NIBKIT_WHEELS") or WHEELS), metavar="FOLDER")
    parser.add_argument("--report", type=Path, default=None, metavar="FILE", help="default: data/gpu/report.md")
    parser.add_argument("--agreement", default="", metavar="OPTIONS", help="options for tests/gpu_agreement.py")
    parser.add_argument("--bench", default="", metavar="OPTIONS", help="options for benchmarks.speed")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; 0: all is well, 1: something failed, 2: nothing could be run."""
    args = parse(arguments)
    sys.path.insert(0, str(SITE))
    if error := obstacle(args.device):
        print(f"error: {error}")
        return 2
    import torch

    real = args.device == "cuda" and not getattr(torch.cuda, "pretended", False)
    report = Report(args.report or (ROOT / "data" / "gpu" if real else OUT) / "report.md")
    check, failed = Check(args, report), []
    with contextlib.suppress(ValueError):  # outside the main thread
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(machine(args.device), flush=True)
    try:
        for step in STEPS:
            if step not in args.steps and step != "wheels":  # without them nothing else runs
                continue
            print(f"--- {step}", flush=True)
            started = time.perf_counter()
            if not getattr(check, step)():
                failed.append(step)
            importlib.invalidate_caches()
            print(f"--- {step}: {'FAILED' if step in failed else 'ok'}, {time.perf_counter() - started:.0f} s", flush=True)
    except LookupError as error:
        print(f"error: {error}")
        return 2
    finally:
        check.stop()
    print(f"{'failed: ' + ', '.join(failed) if failed else 'all is well'}; report: {report.path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
