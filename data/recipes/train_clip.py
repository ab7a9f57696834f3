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

The patch embedding always starts as low-frequency cosines. What a step works on depends on the seed and its number alone; so does
the learning rate, but for ``--minutes``. On CUDA a step is one graph, and all runs of a call go side by side, each on its own
stream.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from clip_training import build_model, contrast, normalise, patch_loss, read, see, start_with_cosines, truth, write_ids
from stages import Limits, Stage, Steps, run
from torch.nn import functional as nnf
from tqdm import tqdm
from worlds import GRID, MOST, WORLDS, World

RECIPES = ("captions-only", "no-reset", "reset")
LENGTH = 26  # tokens of a caption, padding included
HELD_OUT = 512  # scenes in twos that no step sees
SEEING = 0.2  # of the time, where that is limited, for the first stage


def draw_pool(world: World, pairs: int, workers: int) -> list[torch.Tensor]:
    """Images uint8 [pairs, 2, 3, 224, 224], things [pairs, 2, MOST] and what covers the patches [pairs, 2, 49]."""
    images = torch.empty(pairs, 2, 3, 224, 224, dtype=torch.uint8)
    things, labels = torch.empty(pairs, 2, MOST, dtype=torch.long), torch.empty(pairs, 2, GRID**2, dtype=torch.long)
    with ProcessPoolExecutor(workers) as pool:
        drawn = pool.map(world.draw_siblings, range(pairs), chunksize=16)
        for i, found in enumerate(tqdm(drawn, total=pairs, desc=f"drawing {world.name}", mininterval=5)):
            images[i], things[i], labels[i] = map(torch.from_numpy, found)
    return [images, things, labels]


def draw_seeing(scenes: int, rng: np.random.Generator) -> dict:
    """A step of the first stage: which scenes, and whether mirrored."""
    return {"pick": rng.integers(scenes, size=32), "flip": np.array(rng.random() < 0.5)}


def draw_matching(world: World, things: np.ndarray, batch: int, reset: bool, rng: np.random.Generator) -> dict:
    """A step of the second stage: scenes, captions true and false, what else is true, where to reset and to probe."""
    pick = rng.choice(len(things), size=batch // 2, replace=False)
    present = [{int(c) for c in row if c >= 0} for row in things[pick].reshape(batch, MOST)]
    captions = []
    for scene, whole in zip(present, rng.random(batch) < 0.5):
        order = [int(c) for c in rng.permutation(sorted(scene))]
        captions.append(order if whole else order[: int(rng.integers(1, max(len(order), 2)))])
    captions += [world.falsify(c, p, rng) for c, p in zip(captions, present)]
    ids, at = write_ids(world, captions, rng, LENGTH, unknown=0.1)
    also_true = truth(captions, present) & ~np.eye(len(captions), batch, dtype=bool)
    resets = [rng.integers(5, 11) if reset and rng.random() < 0.7 else -1 for _ in range(2)]
    return {
        "pick": pick, "flip": np.array(rng.random() < 0.5), "ids": ids, "at": at, "also_true": also_true,
        "reset": np.array(resets), "probe": rng.integers(5, 10, size=2),
    }  # fmt: skip


def mirrored(
    images: torch.Tensor, labels: torch.Tensor, pick: torch.Tensor, flip: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The picked scenes as pixels and what covers their patches, mirrored if ``flip``."""
    pixels, label = normalise(images[pick].flatten(0, -4)), labels[pick].reshape(-1, GRID, GRID)
    pixels, label = (torch.where(flip, part.flip(-1), part) for part in (pixels, label))
    return pixels, label.flatten(1)


def seeing(world: World, model: torch.nn.Module, pool: list, seed: int, limits: Limits, blocks: int = 4) -> Stage:
    """The first stage of a model: patches say what covers them."""
    images, _, labels = (part.flatten(0, 1) for part in pool)
    tower = model.vision_model
    head = torch.nn.Linear(model.config.vision_config.hidden_size, len(world.phrases) + 1).to(limits.device)
    parts = torch.nn.ModuleList([tower.embeddings, tower.pre_layrnorm, *tower.encoder.layers[:blocks], head])

    def loss(batch: dict) -> dict:
        pixels, label = mirrored(images, labels, batch["pick"], batch["flip"])
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        for block in tower.encoder.layers[:blocks]:
            hidden = block(hidden, None)
        return {"loss": patch_loss(head(hidden[:, 1:]), label)}

    return Stage(
        f"{world.name}-see-{seed}", Steps(functools.partial(draw_seeing, len(images)), seed, 1), loss, [parts], 2.5e-3, limits
    )


def matching(
    world: World, recipe: str, model: torch.nn.Module, pool: list, steps: Steps, seed: int, rate: float, limits: Limits
) -> Stage:
    """The second stage of a model: pictures and captions."""
    images, _, labels = pool
    vision, text = model.config.vision_config.hidden_size, model.config.text_config.hidden_size
    heads = torch.nn.ModuleDict(
        {"patch": torch.nn.Linear(vision, len(world.phrases) + 1), "word": torch.nn.Linear(text, len(world.phrases))}
    ).to(limits.device)

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
    return Stage(f"{folder(world, recipe)}-{seed}", steps, loss, modules, rate, limits)


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
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="of training: decay by the clock where steps would take longer"
    )
    parser.add_argument("--every", type=int, default=500, help="steps between two entries of the log, and two checkpoints")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--loaders", type=int, default=2, help="processes that prepare a run's steps, on CUDA")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    """Draw, train in one or two stages, and export in the Hugging Face layout."""
    args, world = (found := parse()), WORLDS[found.world]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.device == "cuda":
        torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision = "tf32"
    drawn = draw_pool(world, args.pairs + HELD_OUT, args.workers)
    held_out, things = [part[-HELD_OUT:] for part in drawn], drawn[1][:-HELD_OUT]
    pool = [part[:-HELD_OUT].to(args.device) for part in drawn]
    models = {}
    for seed in args.seeds:
        for recipe in args.recipes:
            torch.manual_seed(seed)
            model = models[recipe, seed] = build_model(world).train()
            start_with_cosines(model.vision_model.embeddings.patch_embedding, normalise(drawn[0][:128].flatten(0, 1)))
            model.to(args.device)
    started, end = time.monotonic(), time.monotonic() + 60 * args.minutes
    limits = Limits(args.see_steps, started, started + (end - started) * SEEING, args.device, args.out, args.loaders)
    if taught := [recipe for recipe in args.recipes if recipe != "captions-only"]:  # they share a seed's first stage
        first = [seeing(world, models[taught[0], seed], pool, seed, limits) for seed in args.seeds]
        run(first, args.every, lambda stage: print(f"{stage.name} {stage.done}: {stage.log['loss'].item():.3f}", flush=True))
        for seed in args.seeds:
            eyes = models[taught[0], seed].vision_model.state_dict()
            for recipe in taught[1:]:
                models[recipe, seed].vision_model.load_state_dict(eyes)
    if args.device == "cuda":
        torch.cuda.synchronize()
    limits = limits._replace(steps=args.steps, start=time.monotonic(), end=end)
    second = []
    for (recipe, seed), model in models.items():
        draw = functools.partial(draw_matching, world, things.numpy(), args.batch, recipe == "reset")
        second.append(matching(world, recipe, model, pool, Steps(draw, seed, 2), seed, args.rate, limits))

    def report(stage: Stage) -> None:
        entry = {"step": stage.done} | {name: value.item() for name, value in stage.log.items()}
        entry |= {"scale": stage.modules[0].logit_scale.exp().item()} | retrieval(world, stage.modules[0], held_out, args.device)
        path, names = stage.path.with_suffix(".csv"), ("step", "match", "patch", "word", "scale", "i2t", "t2i", "told")
        rows = path.read_text().splitlines() if path.exists() and stage.done > args.every else [",".join(names)]
        rows.append(",".join(f"{entry[name]:.4g}" if name in entry else "" for name in names))
        path.write_text("\n".join(rows) + "\n")
        print(f"{stage.name} {time.monotonic() - limits.start:.0f} s: {rows[-1]}", flush=True)

    run(second, args.every, report)
    for stage in second:
        target = args.out / stage.name
        stage.modules[0].half().eval().save_pretrained(target)
        world.processor().save_pretrained(target)
        (target / "training.csv").write_text(stage.path.with_suffix(".csv").read_text())


if __name__ == "__main__":
    main()
