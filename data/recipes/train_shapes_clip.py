"""Train the bundled model from scratch: a 12 + 12 layer CLIP on the synthetic world of ``nibkit.shapes``.

    python data/recipes/train_shapes_clip.py --out build/shapes-clip        # an hour on two cores; run again, it resumes

Two stages, because a small vision transformer learns colours in minutes and shapes very slowly from captions alone:

1. **To see.** The patch embedding starts as low-frequency cosines. The first four blocks and a throw-away linear head learn to
   say of each patch which of the 64 objects covers it (the masks are known).
2. **To match.** The whole model, all other weights fresh, learns to match pictures and captions:

   * Contrastive loss (InfoNCE, both directions), with what is *true* known exactly: a caption that happens to be true of another
     picture of the batch is left out of that picture's negatives.
   * Siblings: scenes come in twos that differ in one colour, shape or object, or have two colours swapped, so telling them apart
     needs every object. Hard negatives: each caption also appears falsified in the same way.
   * Half of the captions name only some of the objects. One in ten has unknown words in it, which the model learns to skip.
   * Class-token reset: in 70 % of the batches the class token entering a random block 5 … 10 is set back to its initial state (in
     the text tower, the end token). The patches must keep their evidence until then. Architecture and inference are as usual.
   * For the first 60 % of the steps two throw-away heads read the object from its patches and from the last word of its phrase,
     entering a random block 5 … 9; their weight falls linearly from 1 to 0.
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nnf
from tokenizers import AddedToken
from tqdm import tqdm
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from nibkit.data import shapes

COLORS, SHAPES = list(shapes.COLORS), list(shapes.SHAPES)
START, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<unk>"
WORDS = ["an", "and", *COLORS, *SHAPES]
IDS = {name: i for i, name in enumerate([UNKNOWN, "a</w>", *WORDS, START, END])}
GRID, PATCH = 7, 32


def build_processor() -> CLIPProcessor:
    """CLIP's own tokenizer class over whole words; what it does not know becomes ``<unk>``, one per character.

    CLIPTokenizer's default unknown token is the end token, which would move the pooled position.
    """
    tokenizer = CLIPTokenizer(
        vocab=IDS, merges=[], unk_token=UNKNOWN, bos_token=START, eos_token=END, pad_token=END, model_max_length=77
    )
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in WORDS])
    return CLIPProcessor(CLIPImageProcessorPil(), tokenizer)


def build_model(width: int = 96, text_width: int = 64) -> CLIPModel:
    """ViT-B/32's geometry (patch 32, 7 × 7, 12 + 12 layers) at a small width.

    eos_token_id is 2, as in OpenAI's configurations: transformers then pools at the highest id, which is the end token.
    """

    def tower(width: int, expand: int) -> dict:
        return dict(
            hidden_size=width, intermediate_size=expand * width, num_attention_heads=width // 32, num_hidden_layers=12,
            hidden_act="gelu", projection_dim=64,
        )  # fmt: skip

    special = dict(bos_token_id=IDS[START], eos_token_id=2, pad_token_id=IDS[END])
    return CLIPModel(
        CLIPConfig(
            text_config=tower(text_width, 4) | special | dict(vocab_size=len(IDS), max_position_embeddings=77),
            vision_config=tower(width, 2) | dict(image_size=224, patch_size=PATCH),
            projection_dim=64,
        )
    )


# --- data -------------------------------------------------------------------------------------------------------------


def draw_siblings(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two scenes that differ in one object: images uint8 [2, 3, 224, 224], codes [2, 3], patch labels [2, 49].

    A code is 8 · colour + shape, -1 where there is no object; a patch label is the code of what covers it, -1 for background.
    """
    rng = np.random.default_rng([2026, seed])
    k = int(rng.integers(1, 4))
    codes = rng.choice(64, size=k, replace=False)
    sibling = np.array(falsify([int(c) for c in codes], {int(c) for c in codes}, rng))
    images, labels, table = [], [], np.full((2, 3), -1, dtype=np.int64)
    knobs = dict(size=(20.0, 44.0), clutter=float(rng.uniform(0, 0.5)), contrast=float(rng.uniform(0.75, 1)))
    for i, row in enumerate((codes, sibling)):
        image, _, masks = shapes.draw([(COLORS[c // 8], SHAPES[c % 8]) for c in row], rng, **knobs)
        cover = masks.reshape(k, GRID, PATCH, GRID, PATCH).mean((2, 4)).reshape(k, -1)
        labels.append(np.where(cover.max(0) > 0.2, np.asarray(row)[cover.argmax(0)], -1))
        images.append(np.asarray(image).transpose(2, 0, 1))
        table[i, :k] = row
    return np.stack(images), table, np.stack(labels)


def draw_pool(pairs: int, workers: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images uint8 [pairs, 2, 3, 224, 224], codes [pairs, 2, 3] and patch labels [pairs, 2, 49]."""
    images = torch.empty(pairs, 2, 3, 224, 224, dtype=torch.uint8)
    codes, labels = torch.empty(pairs, 2, 3, dtype=torch.long), torch.empty(pairs, 2, GRID**2, dtype=torch.long)
    with ProcessPoolExecutor(workers) as pool:
        drawn = pool.map(draw_siblings, range(pairs), chunksize=64)
        for i, (image, table, label) in enumerate(tqdm(drawn, total=pairs, desc="drawing")):
            images[i], codes[i], labels[i] = torch.from_numpy(image), torch.from_numpy(table), torch.from_numpy(label)
    return images, codes, labels


def write_ids(captions: list[list[int]], rng: np.random.Generator, unknown: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [n, T] of captions given as lists of codes, and at each phrase's last word its code, elsewhere -1.

    Padded with the end token; causal attention makes all that follows the first one inert.
    """
    rows = []
    for codes in captions:
        row: list[tuple[int, int]] = []
        for j, code in enumerate(codes):
            color, shape = COLORS[code // 8], SHAPES[code % 8]
            article = IDS["an" if color[0] in "aeiou" else "a</w>"]
            row += [(IDS["and"], -1)] * (j > 0) + [(article, -1), (IDS[color], -1), (IDS[shape], code)]
        if rng.random() < unknown:
            for _ in range(int(rng.integers(1, 4))):
                at = int(rng.integers(len(row) + 1))
                row[at:at] = [(IDS[UNKNOWN], -1)] * int(rng.integers(1, 7))
        rows.append([(IDS[START], -1), *row, (IDS[END], -1)])
    longest = max(map(len, rows))
    table = torch.tensor([row + [(IDS[END], -1)] * (longest - len(row)) for row in rows])
    return table[..., 0], table[..., 1]


def falsify(named: list[int], present: set[int], rng: np.random.Generator) -> list[int]:
    """The same objects with one colour, shape or object changed, or two colours swapped, so that it is false."""
    while True:
        changed, where = list(named), int(rng.integers(len(named)))
        (c, s), kind = divmod(named[where], 8), int(rng.integers(4))
        if kind == 3 and len(named) > 1:
            other = int(rng.choice([i for i in range(len(named)) if i != where]))
            d, t = divmod(named[other], 8)
            changed[where], changed[other] = 8 * d + s, 8 * c + t
        else:
            changed[where] = int([8 * rng.integers(8) + s, 8 * c + rng.integers(8), rng.integers(64)][kind % 3])
        if not set(changed) <= present and len(set(changed)) == len(changed):
            return changed


# --- the two towers, with the reset -----------------------------------------------------------------------------------


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 3, 224, 224] -> CLIP's normalised pixels, float [n, 3, 224, 224]."""
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None] * 255
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None] * 255
    return images.float().sub_(mean).div_(std)


def see(model: CLIPModel, pixels: torch.Tensor, reset: int | None = None, probe: int | None = None):
    """Projected image features [n, D] and, where asked for, the patches [n, 49, C] entering block ``probe``."""
    tower = model.vision_model
    hidden = tower.pre_layrnorm(tower.embeddings(pixels))
    first, patches = hidden[:, :1], None
    for i, block in enumerate(tower.encoder.layers):
        if i == reset:
            hidden = torch.cat([first, hidden[:, 1:]], dim=1)
        if i == probe:
            patches = hidden[:, 1:]
        hidden = block(hidden, None)
    return model.visual_projection(tower.post_layernorm(hidden[:, 0])), patches


def read(model: CLIPModel, ids: torch.Tensor, reset: int | None = None, probe: int | None = None):
    """Projected text features [n, D], pooled at the first end token, and, where asked for, the states entering ``probe``."""
    tower = model.text_model
    hidden = tower.embeddings(input_ids=ids)
    first, is_end, words = hidden, (ids == IDS[END])[..., None], None
    mask = torch.full((ids.shape[1],) * 2, -torch.inf).triu(1)[None, None]
    for i, block in enumerate(tower.encoder.layers):
        if i == reset:
            hidden = torch.where(is_end, first, hidden)
        if i == probe:
            words = hidden
        hidden = block(hidden, mask)
    pooled = hidden[torch.arange(len(ids)), (ids == IDS[END]).int().argmax(-1)]
    return model.text_projection(tower.final_layer_norm(pooled)), words


# --- stage 1: to see --------------------------------------------------------------------------------------------------


@torch.no_grad()
def start_with_cosines(embedding: torch.nn.Conv2d, pixels: torch.Tensor) -> None:
    """The patch embedding as the lowest two-dimensional cosines, half for brightness, half for two colour contrasts.

    Each is scaled to unit variance over ``pixels``. Noise then hardly enters, and a patch starts as a small thumbnail.
    """
    count, side = embedding.out_channels, embedding.kernel_size[0]
    phase = (torch.arange(side) + 0.5) / side * math.pi
    waves = nnf.normalize(torch.stack([torch.cos(k * phase) for k in range(10)]), dim=1)
    order = sorted(((i, j) for i in range(10) for j in range(10)), key=lambda at: (at[0] ** 2 + at[1] ** 2, at))
    contrasts = nnf.normalize(torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]]), dim=1)
    shares = (count - 2 * (count // 4), count // 4, count // 4)
    filters = [c[:, None, None] * torch.outer(waves[i], waves[j]) for c, k in zip(contrasts, shares) for i, j in order[:k]]
    embedding.weight.copy_(torch.stack(filters))
    embedding.weight /= embedding(pixels).std(dim=(0, 2, 3))[:, None, None, None]


def patch_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross entropy of patches [n, 49, 65] on what covers them [n, 49]: objects weigh 1, background (-1) together .3."""
    logits, label = logits.flatten(0, 1), label.flatten()
    on = label >= 0
    background = torch.full_like(label[~on], 64)
    return nnf.cross_entropy(logits[on], label[on]) + 0.3 * nnf.cross_entropy(logits[~on], background)


def learn_to_see(model: CLIPModel, pool, args: argparse.Namespace, blocks: int = 4, lr: float = 2.5e-3, batch: int = 32) -> None:
    """Stage 1, in place; resumes from ``see.pt``."""
    images, _, labels = (part.flatten(0, 1) for part in pool)
    tower, head = model.vision_model, torch.nn.Linear(model.config.vision_config.hidden_size, 65)
    start_with_cosines(tower.embeddings.patch_embedding, normalise(images[:256]))
    parts = torch.nn.ModuleList([tower.embeddings, tower.pre_layrnorm, *tower.encoder.layers[:blocks], head])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.02)
    done = resume(args.out / "see.pt", parts, optimizer)
    for step in tqdm(range(done, args.see_steps), initial=done, total=args.see_steps, desc="learning to see"):
        set_rate(optimizer, lr, step, args.see_steps, warm=100)
        rng = np.random.default_rng([args.seed, 1, step])  # a step depends on its number alone: resuming changes nothing
        pick = torch.from_numpy(rng.integers(len(images), size=batch))
        pixels, label = mirror(normalise(images[pick]), labels[pick], rng)
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        for block in tower.encoder.layers[:blocks]:
            hidden = block(hidden, None)
        descend(patch_loss(head(hidden[:, 1:]), label), optimizer, list(parts.parameters()))
        if (step + 1) % 500 == 0 or step + 1 == args.see_steps:
            keep(args.out / "see.pt", step + 1, parts, optimizer)


def mirror(pixels: torch.Tensor, label: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Every other time the mirror image (every shape is its own), with the patch labels [n, 49] mirrored too."""
    if rng.random() < 0.5:
        return pixels, label
    return pixels.flip(-1), label.view(-1, GRID, GRID).flip(-1).flatten(1)


def set_rate(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int, warm: int) -> None:
    """Linear warm-up, then cosine decay to 0."""
    rate = lr * min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / (steps - warm))))
    for group in optimizer.param_groups:
        group["lr"] = rate


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, parameters: list) -> None:
    """One step, the gradient's norm bounded by 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def keep(path: Path, done: int, *things) -> None:
    """Write a checkpoint so that a kill at any moment leaves the old one or the new one."""
    torch.save({"done": done, "parts": [thing.state_dict() for thing in things]}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def resume(path: Path, *things) -> int:
    """Load a checkpoint if there is one; how many steps are done."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for thing, part in zip(things, state["parts"]):
        thing.load_state_dict(part)
    return state["done"]


# --- stage 2: to match----------------------------------------------------------------------------------------------------


def truth(captions: list[list[int]], present: list[set[int]]) -> torch.Tensor:
    """bool [captions, images]: every phrase of the caption is in the picture. Captions and scenes as 64-bit sets."""
    bits = lambda codes: np.bitwise_or.reduce(np.left_shift(np.uint64(1), np.fromiter(codes, np.uint64)))  # noqa: E731
    text, scene = np.array([bits(c) for c in captions]), np.array([bits(p) for p in present])
    return torch.from_numpy((text[:, None] & ~scene[None, :]) == 0)


def contrast(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """InfoNCE both ways. image [n, D]; text [n + m, D], the first n being the captions; true [n + m, n]."""
    n = len(image)
    logits = scale.exp().clamp(max=100) * nnf.normalize(text, dim=-1) @ nnf.normalize(image, dim=-1).T  # [n + m, n]
    also_true = true & ~torch.eye(len(text), n, dtype=torch.bool)
    logits = logits.masked_fill(also_true, -torch.inf)
    target = torch.arange(n)
    return (nnf.cross_entropy(logits[:n], target) + nnf.cross_entropy(logits.T, target)) / 2


def step_loss(model, heads, pool, rng: np.random.Generator, batch: int, aux: float) -> tuple[torch.Tensor, dict]:
    """One batch's loss, and what to log; ``aux`` is the weight of the two throw-away heads."""
    images, codes, labels = pool
    pick = torch.from_numpy(rng.choice(len(images), size=batch // 2, replace=False))
    pixels, label = mirror(normalise(images[pick].flatten(0, 1)), labels[pick].flatten(0, 1), rng)
    present = [{int(c) for c in row if c >= 0} for row in codes[pick].flatten(0, 1)]
    full = rng.random(batch) < 0.5
    captions = []
    for scene, whole in zip(present, full):
        order = [int(c) for c in rng.permutation(sorted(scene))]
        captions.append(order if whole else order[: int(rng.integers(1, max(len(order), 2)))])
    captions += [falsify(c, p, rng) for c, p in zip(captions, present)]
    reset_image, reset_text = (int(rng.integers(5, 11)) if rng.random() < 0.7 else None for _ in range(2))
    image, patches = see(model, pixels, reset_image, int(rng.integers(5, 10)) if aux > 0 else None)
    ids, codes_at = write_ids(captions, rng, unknown=0.1)
    text, words = read(model, ids, reset_text, int(rng.integers(5, 10)) if aux > 0 else None)
    loss = contrast(image, text, model.logit_scale, truth(captions, present))
    log = {"loss": loss.item(), "scale": model.logit_scale.exp().item()}
    if aux > 0:
        patch = patch_loss(heads["patch"](patches), label)
        word = nnf.cross_entropy(heads["word"](words).flatten(0, 1), codes_at.flatten(), ignore_index=-1)
        loss, log["patch"], log["word"] = loss + aux * (patch + word), patch.item(), word.item()
    return loss, log


@torch.no_grad()
def retrieval(model: CLIPModel, pool, batch: int = 128) -> dict[str, float]:
    """Held-out retrieval in batches of 128 full captions, siblings included, and full captions told from false ones."""
    images, codes, _ = pool
    rng, hits, told = np.random.default_rng(7), np.zeros(2), []
    starts = range(0, len(images) - batch // 2 + 1, batch // 2)
    for i in starts:
        part = slice(i, i + batch // 2)
        present = [[int(c) for c in row if c >= 0] for row in codes[part].flatten(0, 1)]
        image = nnf.normalize(see(model, normalise(images[part].flatten(0, 1)))[0], dim=-1)
        text = nnf.normalize(read(model, write_ids(present, rng)[0])[0], dim=-1)
        sim, target = image @ text.T, torch.arange(batch)
        hits += [(sim.argmax(1) == target).float().mean().item(), (sim.argmax(0) == target).float().mean().item()]
        false = nnf.normalize(read(model, write_ids([falsify(p, set(p), rng) for p in present], rng)[0])[0], dim=-1)
        told.append(((image * text).sum(-1) > (image * false).sum(-1)).float().mean().item())
    return {"i2t": hits[0] / len(starts), "t2i": hits[1] / len(starts), "told": float(np.mean(told))}


def learn_to_match(model: CLIPModel, pool, held_out, args: argparse.Namespace, lr: float = 2e-3) -> None:
    """Stage 2, in place; resumes from ``match.pt``, logs to ``training.csv``."""
    heads = torch.nn.ModuleDict({"patch": torch.nn.Linear(96, 65), "word": torch.nn.Linear(64, 64)})
    everything = [*model.parameters(), *heads.parameters()]
    groups = [{"params": [p for p in everything if p.ndim >= 2], "weight_decay": 0.05}]
    groups += [{"params": [p for p in everything if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    done = resume(args.out / "match.pt", model, heads, optimizer)
    if done == 0:
        (args.out / "training.csv").write_text("step,loss,patch,word,scale,i2t,t2i,told\n")
    for step in tqdm(range(done, args.steps), initial=done, total=args.steps, desc="learning to match"):
        set_rate(optimizer, lr, step, args.steps, warm=100)
        rng = np.random.default_rng([args.seed, 2, step])
        loss, entry = step_loss(model, heads, pool, rng, args.batch, max(0.0, 1 - step / (0.6 * args.steps)))
        descend(loss, optimizer, everything)
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            entry |= retrieval(model, held_out) | {"step": step + 1}
            names = ("step", "loss", "patch", "word", "scale", "i2t", "t2i", "told")
            with (args.out / "training.csv").open("a") as log:
                log.write(",".join(f"{entry[name]:.4g}" if name in entry else "" for name in names) + "\n")
            keep(args.out / "match.pt", step + 1, model, heads, optimizer)


def main() -> None:
    """Draw, train in two stages, and export in the Hugging Face layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/shapes-clip"), help="checkpoints, log and the exported model")
    parser.add_argument("--see-steps", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64, help="pairs a step in stage 2")
    parser.add_argument("--pairs", type=int, default=9728, help="sibling pairs held in memory (300 kB each)")
    parser.add_argument("--pool", type=Path, help="keep the drawn scenes in this file, for the next run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    model = build_model().train()
    if args.pool and args.pool.exists():
        drawn = torch.load(args.pool, weights_only=True)
    else:
        drawn = draw_pool(args.pairs + 512, args.workers)
        if args.pool:
            torch.save(drawn, args.pool)
    pool, held_out = [part[:-512] for part in drawn], [part[-512:] for part in drawn]
    learn_to_see(model, pool, args)
    learn_to_match(model, pool, held_out, args)
    model.half().eval().save_pretrained(args.out)
    build_processor().save_pretrained(args.out)


if __name__ == "__main__":
    main()
