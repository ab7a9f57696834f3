"""Train a bundled model from scratch: a 12 + 12 block CLIP on one of nibkit's worlds, whose truth is known.

    python data/recipes/train_clip.py emoji                                  # hours on two cores, minutes on a GPU
    python data/recipes/train_clip.py shapes --recipes no-reset --seeds 0 1  # run again, it resumes
    python data/recipes/train_clip.py shapes --recipes captions-only --steps 20 --pairs 64 --out build/try   # does it run?

Recipes
    captions-only  pictures and captions, nothing else: contrastive loss (InfoNCE, both ways). What is *true* is known exactly: a
                   caption that happens to be true of another picture of the batch is left out of that picture's negatives.
                   Siblings: scenes come in twos that differ in one thing. Hard negatives: each caption also appears falsified in
                   one thing. Half of the captions name only some of the things. One in ten has unknown words in it.
    no-reset       before that, the first four blocks and a throw-away head learn to say of each patch which thing covers it (the
                   masks are known); and for the first 60 % of the steps two throw-away heads read the thing from its patches and
                   from the last word of its phrase, entering a random block 5 … 9, with a weight that falls from 1 to 0.
    reset          that, and in 70 % of the batches the class token that enters a random block 5 … 10 is set back to its start (in
                   the text tower the end token): the patches must keep their evidence until then.

The patch embedding always starts as low-frequency cosines. Every step depends on the seed and its number alone. On CUDA a step is
one graph, and all runs of a call go side by side, each on its own stream.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from clip_training import build_model, contrast, normalise, patch_loss, read, see, start_with_cosines, truth, write_ids
from torch.nn import functional as nnf
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from worlds import GRID, MOST, WORLDS, World

RECIPES = ("captions-only", "no-reset", "reset")
LENGTH = 26  # tokens of a caption, padding included
HELD_OUT = 512  # scenes in twos that no step sees


def draw_pool(world: World, pairs: int, workers: int) -> list[torch.Tensor]:
    """Images uint8 [pairs, 2, 3, 224, 224], things [pairs, 2, MOST] and what covers the patches [pairs, 2, 49]."""
    images = torch.empty(pairs, 2, 3, 224, 224, dtype=torch.uint8)
    things, labels = torch.empty(pairs, 2, MOST, dtype=torch.long), torch.empty(pairs, 2, GRID**2, dtype=torch.long)
    with ProcessPoolExecutor(workers) as pool:
        drawn = pool.map(world.draw_siblings, range(pairs), chunksize=16)
        for i, found in enumerate(tqdm(drawn, total=pairs, desc=f"drawing {world.name}", mininterval=5)):
            images[i], things[i], labels[i] = map(torch.from_numpy, found)
    return [images, things, labels]


class Seeing(Dataset):
    """Steps of the first stage: which scenes, and whether mirrored."""

    def __init__(self, seed: int, scenes: int, batch: int):
        self.seed, self.scenes, self.batch = seed, scenes, batch

    def __getitem__(self, step: int) -> dict:
        rng = np.random.default_rng([self.seed, 1, step])
        return {"pick": rng.integers(self.scenes, size=self.batch), "flip": np.array(rng.random() < 0.5)}


class Matching(Dataset):
    """Steps of the second stage: scenes, captions true and false, what else is true, where to reset and to probe."""

    def __init__(self, world: World, things: torch.Tensor, seed: int, batch: int, reset: bool):
        self.world, self.things, self.seed, self.batch, self.reset = world, things.numpy(), seed, batch, reset

    def __getitem__(self, step: int) -> dict:
        rng = np.random.default_rng([self.seed, 2, step])
        pick = rng.choice(len(self.things), size=self.batch // 2, replace=False)
        present = [{int(c) for c in row if c >= 0} for row in self.things[pick].reshape(self.batch, MOST)]
        captions = []
        for scene, whole in zip(present, rng.random(self.batch) < 0.5):
            order = [int(c) for c in rng.permutation(sorted(scene))]
            captions.append(order if whole else order[: int(rng.integers(1, max(len(order), 2)))])
        captions += [self.world.falsify(c, p, rng) for c, p in zip(captions, present)]
        ids, at = write_ids(self.world, captions, rng, LENGTH, unknown=0.1)
        also_true = truth(captions, present) & ~np.eye(len(captions), self.batch, dtype=bool)
        resets = [rng.integers(5, 11) if self.reset and rng.random() < 0.7 else -1 for _ in range(2)]
        return {
            "pick": pick, "flip": np.array(rng.random() < 0.5), "ids": ids, "at": at, "also_true": also_true,
            "reset": np.array(resets), "probe": rng.integers(5, 10, size=2),
        }  # fmt: skip


class Stage:
    """One model's training: its steps, its optimiser, its checkpoint, and on CUDA its graph and stream."""

    def __init__(
        self,
        name: str,
        steps: Dataset,
        loss: Callable[[dict], dict],
        modules: list,
        rate: float,
        args: argparse.Namespace,
        total: int,
    ):
        self.name, self.loss, self.modules, self.rate, self.total = name, loss, modules, rate, total
        self.device = torch.device(args.device)
        self.path = args.out / f"{name}.pt"
        self.parameters = [p for module in modules for p in module.parameters()]
        groups = [{"params": [p for p in self.parameters if p.ndim >= 2], "weight_decay": 0.05}]
        groups += [{"params": [p for p in self.parameters if p.ndim < 2], "weight_decay": 0.0}]
        cuda = self.device.type == "cuda"
        start = torch.zeros((), device=self.device) if cuda else 0.0
        self.optimizer = torch.optim.AdamW(groups, lr=start, betas=(0.9, 0.98), capturable=cuda, fused=cuda)
        self.done = self.resume()
        self.graph, self.stream = None, torch.cuda.Stream() if cuda else None
        order, workers = range(self.done, total), args.workers if cuda else 0
        more = dict(num_workers=workers, prefetch_factor=8, pin_memory=True) if workers else {}
        self.batches: Iterator = iter(DataLoader(steps, batch_size=None, sampler=order, **more)) if order else iter(())
        self.buffers: dict[str, torch.Tensor] = {}
        self.log: dict[str, torch.Tensor] = {}

    def resume(self) -> int:
        """Load the checkpoint if there is one; how many steps are done."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True, map_location=self.device)
        for part, saved in zip([*self.modules, self.optimizer], state["parts"]):
            part.load_state_dict(saved)
        return state["done"]

    def keep(self) -> None:
        """Write a checkpoint so that a kill at any moment leaves the old one or the new one."""
        parts = [part.state_dict() for part in [*self.modules, self.optimizer]]
        torch.save({"done": self.done, "parts": parts}, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def set_rate(self, step: int | None) -> None:
        """Linear warm-up, then cosine decay to 0; None: 0."""
        warm = min(300, self.total // 10 + 1)
        share = 0.0
        if step is not None:
            along = max(0, step - warm) / (self.total - warm)
            share = min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * along)))
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
        self.set_rate(None)
        for _ in range(3):
            self.optimizer.zero_grad(set_to_none=True)
            self.descend()
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.descend()
        for p, state in self.optimizer.state.items():
            for key, value in state.items():
                value.copy_(before[p][key]) if p in before else value.zero_()

    def step(self) -> None:
        """The next step."""
        batch = {name: torch.as_tensor(value) for name, value in next(self.batches).items()}
        batch["aux"] = torch.tensor(max(0.0, 1 - self.done / (0.6 * self.total)))
        if self.stream is None:
            self.buffers = batch
            self.set_rate(self.done)
            self.optimizer.zero_grad(set_to_none=True)
            self.descend()
        else:
            with torch.cuda.stream(self.stream):
                if not self.buffers:
                    self.buffers = {name: value.to(self.device) for name, value in batch.items()}
                    self.capture()
                for name, value in batch.items():
                    self.buffers[name].copy_(value, non_blocking=True)
                self.set_rate(self.done)
                self.graph.replay()
        self.done += 1


def run(stages: list[Stage], every: int, until: float, report: Callable[[Stage], None]) -> None:
    """All stages side by side, a step each in turn, until they are done or the clock shows ``until``."""
    left = [stage for stage in stages if stage.done < stage.total]
    with tqdm(total=sum(s.total for s in stages), initial=sum(s.done for s in stages), mininterval=10) as bar:
        while left and time.monotonic() < until:
            for stage in left:
                stage.step()
                if stage.done % every == 0 or stage.done == stage.total:
                    report(stage)
                    stage.keep()
            bar.update(len(left))
            left = [stage for stage in left if stage.done < stage.total]
    for stage in left:
        report(stage)
        stage.keep()


def mirrored(
    images: torch.Tensor, labels: torch.Tensor, pick: torch.Tensor, flip: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The picked scenes as pixels and what covers their patches, mirrored if ``flip``."""
    pixels, label = normalise(images[pick].flatten(0, -4)), labels[pick].reshape(-1, GRID, GRID)
    pixels, label = (torch.where(flip, part.flip(-1), part) for part in (pixels, label))
    return pixels, label.flatten(1)


def seeing(world: World, model: torch.nn.Module, pool: list, seed: int, args: argparse.Namespace, blocks: int = 4) -> Stage:
    """The first stage of a model: patches say what covers them."""
    images, _, labels = (part.flatten(0, 1) for part in pool)
    tower = model.vision_model
    head = torch.nn.Linear(model.config.vision_config.hidden_size, len(world.phrases) + 1).to(args.device)
    parts = torch.nn.ModuleList([tower.embeddings, tower.pre_layrnorm, *tower.encoder.layers[:blocks], head])

    def loss(batch: dict) -> dict:
        pixels, label = mirrored(images, labels, batch["pick"], batch["flip"])
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        for block in tower.encoder.layers[:blocks]:
            hidden = block(hidden, None)
        return {"loss": patch_loss(head(hidden[:, 1:]), label)}

    return Stage(f"{world.name}-see-{seed}", Seeing(seed, len(images), 32), loss, [parts], 2.5e-3, args, args.see_steps)


def matching(
    world: World, recipe: str, model: torch.nn.Module, pool: list, things: torch.Tensor, seed: int, args: argparse.Namespace
) -> Stage:
    """The second stage of a model: pictures and captions."""
    images, _, labels = pool
    vision, text = model.config.vision_config.hidden_size, model.config.text_config.hidden_size
    heads = torch.nn.ModuleDict(
        {"patch": torch.nn.Linear(vision, len(world.phrases) + 1), "word": torch.nn.Linear(text, len(world.phrases))}
    ).to(args.device)

    def loss(batch: dict) -> dict:
        pixels, label = mirrored(images, labels, batch["pick"], batch["flip"])
        image, patches = see(model, pixels, batch["reset"][0], batch["probe"][0])
        text, words = read(model, batch["ids"], batch["reset"][1], batch["probe"][1])
        log = {"match": contrast(image, text, model.logit_scale, batch["also_true"])}
        log["loss"] = log["match"]
        if recipe != "captions-only":
            log["patch"] = patch_loss(heads["patch"](patches), label)
            log["word"] = nnf.cross_entropy(heads["word"](words).flatten(0, 1), batch["at"].flatten(), ignore_index=-1)
            log["loss"] = log["match"] + batch["aux"] * (log["patch"] + log["word"])
        return log

    modules = [model, heads] if recipe != "captions-only" else [model]
    steps = Matching(world, things, seed, args.batch, recipe == "reset")
    return Stage(f"{folder(world, recipe)}-{seed}", steps, loss, modules, args.rate, args, args.steps)


def folder(world: World, recipe: str) -> str:
    """The bundled model's name that a recipe makes."""
    if world.name == "emoji":
        return "emoji" + ("" if recipe == "captions-only" else f"-{recipe}")
    return "shapes" if recipe == "reset" else f"shapes-{recipe}"


@torch.no_grad()
def retrieval(world: World, model: torch.nn.Module, pool: list, device: str, batch: int = 128) -> dict[str, float]:
    """Held-out retrieval in batches of 128 full captions, siblings included, and full captions told from false ones."""
    images, things, _ = pool
    rng, hits, told, none = np.random.default_rng(7), np.zeros(2), [], torch.tensor(-1, device=device)
    starts = range(0, len(images) - batch // 2 + 1, batch // 2)
    embed = lambda c: nnf.normalize(  # noqa: E731
        read(model, torch.from_numpy(write_ids(world, c, rng, LENGTH)[0]).to(device), none, none)[0], dim=-1
    )
    for i in starts:
        part = slice(i, i + batch // 2)
        present = [[int(c) for c in row if c >= 0] for row in things[part].flatten(0, 1)]
        image = nnf.normalize(see(model, normalise(images[part].flatten(0, 1).to(device)), none, none)[0], dim=-1)
        text, target = embed(present), torch.arange(batch, device=device)
        sim = image @ text.T
        hits += [(sim.argmax(1) == target).float().mean().item(), (sim.argmax(0) == target).float().mean().item()]
        false = embed([world.falsify(p, set(p), rng) for p in present])
        told.append(((image * text).sum(-1) > (image * false).sum(-1)).float().mean().item())
    return {"i2t": hits[0] / len(starts), "t2i": hits[1] / len(starts), "told": float(np.mean(told))}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["captions-only"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, default=Path("build/models"), help="checkpoints, logs and the exported models")
    parser.add_argument("--see-steps", type=int, default=4000, help="of the first stage")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=64, help="scenes a step of the second stage")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="the highest learning rate of the second stage")
    parser.add_argument("--pairs", type=int, default=9728, help="scenes in twos, held in memory (300 kB each)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop, keep and export after so long")
    parser.add_argument("--every", type=int, default=500, help="steps between two entries of the log, and two checkpoints")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw, and that prepare a run's batches on CUDA")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    """Draw, train in one or two stages, and export in the Hugging Face layout."""
    args, world = (found := parse()), WORLDS[found.world]
    until = time.monotonic() + 60 * args.minutes
    args.out.mkdir(parents=True, exist_ok=True)
    if args.device == "cuda":
        torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision = "tf32"
    drawn = draw_pool(world, args.pairs + HELD_OUT, args.workers)
    held_out, things = [part[-HELD_OUT:] for part in drawn], drawn[1][:-HELD_OUT]
    pool = [part[:-HELD_OUT].to(args.device) for part in drawn]
    models, first, second = {}, [], []
    for seed in args.seeds:
        for recipe in args.recipes:
            torch.manual_seed(seed)
            model = models[recipe, seed] = build_model(world).train()
            start_with_cosines(model.vision_model.embeddings.patch_embedding, normalise(drawn[0][:128].flatten(0, 1)))
            model.to(args.device)
        taught = [recipe for recipe in args.recipes if recipe != "captions-only"]
        if taught:  # recipes of one seed share the first stage
            first.append(seeing(world, models[taught[0], seed], pool, seed, args))
    run(first, args.every, until, lambda stage: print(f"{stage.name} {stage.done}: {stage.log['loss'].item():.3f}", flush=True))
    for (recipe, seed), model in models.items():
        if recipe in (taught := [recipe for recipe in args.recipes if recipe != "captions-only"]) and recipe != taught[0]:
            model.vision_model.load_state_dict(models[taught[0], seed].vision_model.state_dict())
        second.append(matching(world, recipe, model, pool, things, seed, args))
    started = time.monotonic()

    def report(stage: Stage) -> None:
        if stage.stream is not None:
            stage.stream.synchronize()
        entry = {"step": stage.done} | {name: value.item() for name, value in stage.log.items()}
        entry |= {"scale": stage.modules[0].logit_scale.exp().item()} | retrieval(world, stage.modules[0], held_out, args.device)
        path, names = stage.path.with_suffix(".csv"), ("step", "match", "patch", "word", "scale", "i2t", "t2i", "told")
        line = ",".join(f"{entry[name]:.4g}" if name in entry else "" for name in names)
        with path.open("a" if stage.done > args.every and path.exists() else "w") as log:
            log.write(line + "\n" if log.tell() else ",".join(names) + "\n" + line + "\n")
        print(f"{stage.name} {time.monotonic() - started:.0f} s: {line}", flush=True)

    run(second, args.every, until, report)
    for stage in second:
        target = args.out / stage.name
        stage.modules[0].half().eval().save_pretrained(target)
        world.processor().save_pretrained(target)
        (target / "training.csv").write_text(stage.path.with_suffix(".csv").read_text())


if __name__ == "__main__":
    main()
