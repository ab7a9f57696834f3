"""Killed at random moments, and two at a time: the benchmark's file stays whole, and nothing is lost or done twice."""

import contextlib
import random
import time
from pathlib import Path

import pytest
import torch
from evaluations import call, prepare_forks, same_rows, some_pairs, tiny

import nibkit as nk
from nibkit.evaluation import store as storage
from nibkit.evaluation.store import read_results


def slow(clip, inputs, wait: float = 0.1):
    time.sleep(wait)
    return nk.nib(clip, inputs, num_steps=1)


KILLED = {"nib": ("nib", {"num_steps": 1}), "slow": slow}


def run_here(out: Path) -> None:
    """What the processes below do, until they are killed."""
    torch.set_num_threads(1)
    call(tiny(), some_pairs(16), KILLED, out)


@pytest.fixture(scope="module")
def fork():
    """Starts ``run_here`` in a process of its own."""
    context, started = prepare_forks(), []

    def start(*arguments):
        started.append(context.Process(target=run_here, args=arguments, daemon=True))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


def count(out: Path) -> int:
    """How many results there are by now."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # not there yet
        return len(read_results(out))
    return 0


def wait_for(condition, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.002)


def test_killed_three_times_and_resumed_it_is_the_same(fork, tmp_path):
    """SIGKILL at random moments; every batch of every method is there as a whole or not at all, and none is done twice."""
    out, moments, before = tmp_path / "r.sqlite", random.Random(0), 0
    for _ in range(3):
        process = fork(out)
        wait_for(lambda: count(out) > before or not process.is_alive())  # noqa: B023
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -9
        before = len(table := read_results(out))
        assert (table.groupby([table["pair"].str[6:].astype(int) // 2, "method"]).size() == 2).all()
    assert 6 <= before < 32
    clip, pairs = tiny(), some_pairs(16)
    done = call(clip, pairs, KILLED, out)
    same_rows(done, call(clip, pairs, KILLED))
    assert len(done) == 32


def test_two_runs_into_one_file_refuse_each_other(fork, tmp_path):
    out = tmp_path / "r.sqlite"
    process = fork(out)
    wait_for(lambda: count(out) > 0)
    with pytest.raises(BlockingIOError, match="r.sqlite' is being written by another run: wait until it ends"):
        run_here(out)
    assert process.is_alive() and count(out) >= 2  # and looking on is allowed
    process.kill()
    process.join()
    with storage.lock(out):  # the system has unlocked it
        pass
