"""A stage of a model's training: steps drawn from their numbers, an optimiser, a checkpoint, and on CUDA a graph and a stream."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

CHUNK = 25  # steps that are prepared together
WARM = 300  # steps in which the rate climbs


class Limits(NamedTuple):
    """What bounds a stage (steps, and seconds of the clock ``time.monotonic``), and where and with what it works."""

    steps: int
    start: float
    end: float
    device: str
    out: Path
    loaders: int


class Steps(Dataset):
    """What each step of a run works on, drawn from the seed and the step's number; item i holds ``CHUNK`` steps, stacked."""

    def __init__(self, draw: Callable[[np.random.Generator], dict], seed: int, stage: int):
        self.draw, self.seed, self.stage = draw, seed, stage

    def __getitem__(self, chunk: int) -> dict:
        steps = range(chunk * CHUNK, (chunk + 1) * CHUNK)
        found = [self.draw(np.random.default_rng([self.seed, self.stage, step])) for step in steps]
        return {name: np.stack([step[name] for step in found]) for name in found[0]}


class Stage:
    """One model's training: its steps, its optimiser, its checkpoint, and on CUDA its graph and stream."""

    def __init__(self, name: str, steps: Dataset, loss: Callable[[dict], dict], modules: list, rate: float, limits: Limits):
        self.name, self.loss, self.modules, self.rate, self.limits = name, loss, modules, rate, limits
        self.device, self.path = torch.device(limits.device), limits.out / f"{name}.pt"
        self.parameters = [p for module in modules for p in module.parameters()]
        groups = [{"params": [p for p in self.parameters if p.ndim >= 2], "weight_decay": 0.05}]
        groups += [{"params": [p for p in self.parameters if p.ndim < 2], "weight_decay": 0.0}]
        cuda = self.device.type == "cuda"
        start = torch.zeros((), device=self.device) if cuda else 0.0
        self.optimizer = torch.optim.AdamW(groups, lr=start, betas=(0.9, 0.98), capturable=cuda, fused=cuda)
        self.over = False  # ended, by the clock or by its steps
        self.done = self.resume()
        self.graph, self.stream = None, torch.cuda.Stream() if cuda else None
        order = range(self.done // CHUNK, math.ceil(limits.steps / CHUNK))
        more = dict(num_workers=limits.loaders, prefetch_factor=4) if cuda else {}
        self.chunks: Iterator = iter(DataLoader(steps, batch_size=None, sampler=order, **more)) if order else iter(())
        self.chunk: dict[str, torch.Tensor] = {}
        self.buffers: dict[str, torch.Tensor] = {}
        self.log: dict[str, torch.Tensor] = {}

    @property
    def along(self) -> float:
        """How far it is, 0 … 1: by its steps, or by the clock where that is farther."""
        clock = (time.monotonic() - self.limits.start) / (self.limits.end - self.limits.start)
        return 1.0 if self.over else min(1.0, max(self.done / self.limits.steps, clock))

    def resume(self) -> int:
        """Load the checkpoint if there is one; how many steps are done."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True, map_location=self.device)
        for part, saved in zip([*self.modules, self.optimizer], state["parts"]):
            part.load_state_dict(saved)
        self.over = state["over"]
        return state["done"]

    def keep(self) -> None:
        """Write a checkpoint so that a kill at any moment leaves the old one or the new one."""
        parts = [part.state_dict() for part in [*self.modules, self.optimizer]]
        torch.save({"done": self.done, "over": self.over, "parts": parts}, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def set_rate(self, share: float) -> None:
        """The learning rate, as a share of the highest."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(self.rate * share)
            else:
                group["lr"] = self.rate * share

    def descend(self) -> None:
        """One step on what is in the buffers, the gradient's norm bounded by 1."""
        self.log = self.loss(self.buffers)
        self.log["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()

    def capture(self) -> None:
        """The step as a CUDA graph. Warm-up steps at rate 0 change no weight; what they do to the optimiser is taken back."""
        before = {p: {k: v.clone() for k, v in state.items()} for p, state in self.optimizer.state.items()}
        self.set_rate(0.0)
        for _ in range(3):
            self.optimizer.zero_grad(set_to_none=True)
            self.descend()
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                self.descend()
        except RuntimeError as error:  # slower, and the same
            print(f"{self.name}: no graph ({str(error).splitlines()[0]}), step by step", flush=True)
            self.graph = None
        for p, state in self.optimizer.state.items():
            for key, value in state.items():
                value.copy_(before[p][key]) if p in before else value.zero_()

    def step(self) -> None:
        """The next step: linear warm-up, then cosine decay to 0."""
        along = self.along
        share = min((self.done + 1) / WARM, 0.5 * (1 + math.cos(math.pi * along)))
        with torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext():
            if not self.chunk or self.done % CHUNK == 0:
                self.chunk = {name: torch.as_tensor(value).to(self.device) for name, value in next(self.chunks).items()}
            batch = {name: value[self.done % CHUNK] for name, value in self.chunk.items()}
            batch["aux"] = torch.full((), max(0.0, 1 - along / 0.6), device=self.device)
            if not self.buffers:
                self.buffers = {name: value.clone() for name, value in batch.items()}
                if self.stream is not None:
                    self.capture()
            for name, value in batch.items():
                self.buffers[name].copy_(value)
            self.set_rate(share)
            if self.graph is not None:
                self.graph.replay()
            else:
                self.optimizer.zero_grad(set_to_none=True)
                self.descend()
        self.done += 1

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.stream is not None:
            self.stream.synchronize()


def run(stages: list[Stage], every: int, report: Callable[[Stage], None]) -> None:
    """All stages side by side, a step each in turn."""
    left = [stage for stage in stages if stage.along < 1]
    with tqdm(mininterval=10, unit="step") as bar:
        while left:
            over = []
            for stage in left:
                stage.step()
                if stage.along == 1:
                    stage.over = True
                    over.append(stage)
                if stage.done % every == 0 or stage in over:
                    stage.wait()
                    report(stage)
                    stage.keep()
            bar.update(len(left))
            left = [stage for stage in left if stage not in over]
