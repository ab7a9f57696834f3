"""The bundled models: small, opened by transformers with no network, and they see what is in a scene."""

import numpy as np
import pytest
import torch
from helpers import no_network, relative
from transformers import AutoTokenizer, CLIPModel, CLIPProcessor, CLIPTokenizer

import nibkit as nk
from nibkit.data.scenes import write_caption
from nibkit.resources import data_dir

FOLDER = data_dir() / "shapes-clip"


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


@pytest.fixture(scope="module")
def scenes():
    return nk.shapes.sample(60, seed=90_001, objects=(2, 3))


def test_it_is_small_and_holds_no_pickle():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".csv"}


def test_transformers_opens_it_with_no_network(monkeypatch):
    no_network(monkeypatch)
    model = CLIPModel.from_pretrained(FOLDER)
    assert model.config.vision_config.num_hidden_layers == model.config.text_config.num_hidden_layers == 12
    assert (model.config.vision_config.image_size, model.config.vision_config.patch_size) == (224, 32)
    for kind in (AutoTokenizer, CLIPTokenizer):
        tokenizer = kind.from_pretrained(FOLDER)
        assert tokenizer("a red circle")["input_ids"] == tokenizer("A Red  Circle")["input_ids"]
        assert tokenizer.model_max_length == 77
    processor = CLIPProcessor.from_pretrained(FOLDER)
    scene = nk.shapes.sample(1, seed=3)[0]
    batch = processor(images=scene.image, text=[scene.caption], return_tensors="pt")
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits_per_image).all()


def test_load_clip_is_the_same_model(clip, scenes):
    """To float16's rounding of nothing: the same weights, the same features."""
    model = CLIPModel.from_pretrained(FOLDER, dtype=torch.float32)
    inputs = clip.prepare([s.image for s in scenes[:4]], [s.caption for s in scenes[:4]])
    with torch.no_grad():
        assert relative(clip.encode_image(inputs), model.get_image_features(inputs.pixel_values).pooler_output) < 1e-5
        assert (
            relative(clip.encode_text(inputs), model.get_text_features(inputs.input_ids, inputs.attention_mask).pooler_output)
            < 1e-5
        )


def test_it_is_stored_in_half_precision_and_loaded_in_single():
    from safetensors import safe_open

    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}
    assert nk.load_clip("shapes", device="cpu").dtype == torch.float32


def test_every_word_of_the_world_is_one_token(clip):
    for phrase in nk.shapes.phrases():
        assert clip.tokenizer.unk_token_id not in (ids := clip.tokenizer(phrase)["input_ids"]) and len(ids) == 5


def test_unknown_words_have_a_token_of_their_own(clip):
    tokenizer = clip.tokenizer
    assert len({tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    assert tokenizer.eos_token_id == max(tokenizer.get_vocab().values()) == clip.text.vocabulary - 1  # the highest id is read
    for text in ("dog", "!", "7", "é", "日本", "🙂"):
        ids = tokenizer(text)["input_ids"]
        assert set(ids[1:-1]) == {tokenizer.unk_token_id} and ids.count(tokenizer.eos_token_id) == 1
    article = tokenizer("a")["input_ids"][1]  # a last letter a is read as the article: without weight
    assert tokenizer("zebra")["input_ids"][1:-1] == [tokenizer.unk_token_id] * 4 + [article]


def test_it_knows_true_captions_from_false_ones(clip, scenes):
    """One colour changed: the true caption has the higher similarity in most scenes (the model card has the exact figures)."""
    rng = np.random.default_rng(0)
    false = [" and ".join(write_caption(s.objects, rng, "wrong", alternatives=nk.shapes.alternatives)[0]) for s in scenes]
    images = [s.image for s in scenes]
    right, wrong = (clip.similarity(clip.prepare(images, captions)) for captions in ([s.caption for s in scenes], false))
    assert (right > wrong).float().mean() > 0.7


def test_it_finds_the_caption_of_a_picture(clip, scenes):
    inputs = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
    image, text = (torch.nn.functional.normalize(x, dim=-1) for x in (clip.encode_image(inputs), clip.encode_text(inputs)))
    found = (image @ text.T).argmax(1) == torch.arange(len(scenes))
    assert found.float().mean() > 0.5  # 1 in 60 by chance


def test_its_maps_point_where_the_caption_points(clip):
    """One of three objects named: its patches get more than the other two objects' in most scenes; 1 in 3 by chance."""
    scenes = nk.shapes.sample(40, seed=90_002, captions="one", objects=3)
    maps = nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes])).heatmap(normalize=None).numpy()
    means = [[m[mask].mean() for mask in s.masks] for s, m in zip(scenes, maps)]
    assert np.mean([np.argmax(row) == s.named[0] for row, s in zip(means, scenes)]) > 0.6


@pytest.mark.parametrize("name", nk.MODELS)
def test_every_model_of_the_grid(name, monkeypatch):
    """Small, with a card, of ViT-B/32's geometry, opened by plain transformers, and it tells true captions from false ones."""
    no_network(monkeypatch)
    folder = data_dir() / f"{name}-clip"
    assert (folder / "model.safetensors").stat().st_size < 5e6 and f"# {name}-clip" in (folder / "README.md").read_text()
    world = nk.emoji if name == "emoji" else nk.shapes
    model, processor = CLIPModel.from_pretrained(folder, dtype=torch.float32), CLIPProcessor.from_pretrained(folder)
    assert [(c.num_hidden_layers, c.hidden_act) for c in (model.config.vision_config, model.config.text_config)] == [
        (12, "gelu")
    ] * 2
    scenes, rng = world.sample(40, seed=90_003, objects=(2, 3)), np.random.default_rng(0)
    false = [" and ".join(write_caption(s.objects, rng, "wrong", alternatives=world.alternatives)[0]) for s in scenes]
    batch = processor(images=[s.image for s in scenes], text=[s.caption for s in scenes], return_tensors="pt", padding=True)
    clip = nk.load_clip(name, device="cpu")
    ours = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
    assert torch.equal(ours.input_ids, batch["input_ids"]) and torch.allclose(ours.pixel_values, batch["pixel_values"])
    with torch.no_grad():
        assert (
            relative(clip.encode_text(ours), model.get_text_features(batch["input_ids"], batch["attention_mask"]).pooler_output)
            < 1e-5
        )
    wrong = clip.prepare([s.image for s in scenes], false)
    assert (clip.similarity(ours) > clip.similarity(wrong)).float().mean() > 0.7
    unknown = clip.tokenizer("zyx")["input_ids"]
    assert unknown[1:-1] == [clip.tokenizer.unk_token_id] * 3 and unknown[-1] == clip.text.vocabulary - 1
