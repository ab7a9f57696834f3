"""The recipes of the bundled models: what a step works on, what is true in it, and that training goes on where it was."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
sys.path.insert(0, str(RECIPES))

import clip_training as training  # noqa: E402
import train_clip  # noqa: E402
from stages import Limits, Stage, Steps  # noqa: E402
from worlds import WORLDS  # noqa: E402

NONE = torch.tensor(-1)


@pytest.fixture(params=WORLDS)
def world(request):
    return WORLDS[request.param]


def test_siblings_differ_in_one_thing_or_exchange_colours(world):
    for seed in range(12):
        images, table, labels = world.draw_siblings(seed)
        assert images.shape == (2, 3, 224, 224) and images.dtype == np.uint8 and labels.shape == (2, 49)
        first, second = ({int(i) for i in row if i >= 0} for row in table)
        assert len(first) == len(second) and 1 <= len(first - second) <= 2
        for row, label in zip(table, labels):
            assert set(label) - {-1} <= set(row)


def test_a_falsified_caption_is_false(world):
    rng = np.random.default_rng(0)
    for _ in range(200):
        named = [int(i) for i in rng.choice(len(world.phrases), size=int(rng.integers(1, world.most + 1)), replace=False)]
        present = {*named, int(rng.integers(len(world.phrases)))}
        assert not set(world.falsify(named, present, rng)) <= present


def test_two_things_exchange_their_colours():
    shapes, emoji = WORLDS["shapes"], WORLDS["emoji"]
    number = {world.name: {phrase: i for i, phrase in enumerate(world.phrases)} for world in (shapes, emoji)}
    pair = shapes.swap(number["shapes"]["a red circle"], number["shapes"]["a blue star"])
    assert [shapes.phrases[i] for i in pair] == ["a red star", "a blue circle"]
    pair = emoji.swap(number["emoji"]["a red apple"], number["emoji"]["a green book"])
    assert [emoji.phrases[i] for i in pair] == ["a green apple", "a red book"]
    assert emoji.swap(number["emoji"]["a red apple"], number["emoji"]["a dog"]) is None


def test_captions_are_written_as_the_tokenizer_reads_them(world):
    """Token by token, for every phrase and two together; the thing's number stands at its phrase's last word."""
    tokenizer, rng = world.processor().tokenizer, np.random.default_rng(0)
    captions = [[i] for i in range(len(world.phrases))] + [[3, 30]]
    ids, things = training.write_ids(world, captions, rng, train_clip.LENGTH)
    for caption, row, at in zip(captions, ids, things):
        text = " and ".join(world.phrases[i] for i in caption)
        wanted = tokenizer(text)["input_ids"]
        assert row[: len(wanted)].tolist() == wanted and set(row[len(wanted) :]) <= {wanted[-1]}
        assert at[at >= 0].tolist() == caption


def test_what_else_is_true_is_no_negative():
    found = training.truth([[1], [1, 2], [3]], [{1, 2}, {1}, {2, 3}])
    assert found.tolist() == [[True, True, False], [True, False, False], [False, False, True]]
    image, text = torch.eye(3), torch.eye(3)
    also = torch.zeros(3, 3, dtype=torch.bool)
    apart = training.contrast(image, text, torch.tensor(2.0), also)
    also[1, 0] = True
    assert training.contrast(image, text, torch.tensor(2.0), also) < apart


def test_the_towers_are_the_models_own(world):
    """Without a reset what a step computes is what transformers' forward gives; with one it is something else."""
    torch.manual_seed(0)
    model = training.build_model(world).eval()
    pixels = torch.randn(2, 3, 224, 224)
    ids = torch.from_numpy(training.write_ids(world, [[0, 5], [7]], np.random.default_rng(0), 12)[0])
    with torch.no_grad():
        want = model(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids))
        image, _ = training.see(model, pixels, NONE, NONE)
        text, _ = training.read(model, ids, NONE, NONE)
        unit = torch.nn.functional.normalize
        assert torch.allclose(unit(image, dim=-1), want.image_embeds, atol=1e-5)
        assert torch.allclose(unit(text, dim=-1), want.text_embeds, atol=1e-5)
        probed = training.see(model, pixels, NONE, torch.tensor(6))[1]
        assert torch.allclose(probed, model.vision_model(pixels, output_hidden_states=True).hidden_states[6][:, 1:], atol=1e-5)
        assert not torch.allclose(training.see(model, pixels, torch.tensor(7), NONE)[0], image, atol=1e-4)


def test_pixels_are_clips(world):
    image = world.draw_siblings(0)[0][0]
    wanted = world.processor().image_processor(image.transpose(1, 2, 0), return_tensors="pt")["pixel_values"][0]
    assert torch.allclose(training.normalise(torch.from_numpy(image)), wanted, atol=1e-5)


def test_training_goes_on_where_it_was(tmp_path):
    """Two runs of three steps are one of six, to the last digit; and the loss falls."""

    def stage(folder: Path, steps: int, end: int) -> Stage:
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 1)
        draw = lambda rng: {"x": rng.normal(size=(8, 4)).astype(np.float32)}  # noqa: E731
        loss = lambda batch: {"loss": ((layer(batch["x"]) - batch["x"].sum(1, keepdim=True)) ** 2).mean()}  # noqa: E731
        folder.mkdir(exist_ok=True)
        found = Stage("try", Steps(draw, 0, 1), loss, [layer], 0.1, Limits(steps, 0.0, float("inf"), "cpu", folder, 0))
        while found.done < end:
            found.step()
        found.keep()
        return found

    whole = stage(tmp_path / "a", 60, 60)
    stage(tmp_path / "b", 60, 31)
    halves = stage(tmp_path / "b", 60, 60)
    assert halves.done == 60 and torch.equal(whole.modules[0].weight, halves.modules[0].weight)
    assert whole.log["loss"] < 20
