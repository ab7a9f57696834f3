"""Rows of two kinds never stand in one file: a run that goes on with another picture, mask, model, processor … is refused."""

import contextlib
import copy
import functools
import sqlite3
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluations import FAST, NIB, call, same_rows, tiny
from PIL import Image

import nibkit as nk
from nibkit.evaluation import evaluate as evaluation
from nibkit.evaluation.digests import describe_model, digest
from nibkit.evaluation.digests import written as setting
from nibkit.evaluation.schema import ADDED, EARLIER
from nibkit.evaluation.store import read_results
from nibkit.methods.registry import read_methods


@pytest.fixture(scope="module")
def pairs():
    return nk.datasets.shapes(3, seed=5, captions="some")


def changed(pair, **what):
    return SimpleNamespace(**{name: getattr(pair, name) for name in ("id", "image", "caption", "masks", "scene")} | what)


def darker(image: Image.Image) -> Image.Image:
    """Another picture by one grey level of one pixel."""
    image = image.copy()
    image.putpixel((3, 3), tuple(value ^ 1 for value in image.getpixel((3, 3))))
    return image


OTHER = {
    "picture": (lambda p: {"image": darker(p.image)}, "another picture"),
    "size": (lambda p: {"image": p.image.crop((0, 0, 223, 224))}, "another picture"),
    "caption": (lambda p: {"caption": "a blue ring"}, "'a blue ring' here"),
    "masks": (lambda p: {"scene": None, "masks": ~p.masks}, "other masks"),
    "no masks": (lambda p: {"scene": None, "masks": None}, "other masks"),
    "names": (lambda p: {"scene": SimpleNamespace(**vars(p.scene) | {"named": p.scene.named[::-1] + (0,)})}, "other masks"),
}


@pytest.mark.parametrize("what", OTHER)
@pytest.mark.parametrize("methods", [NIB, FAST], ids=["all is done", "a method is to come"])
def test_another_pair_of_the_same_id_is_refused(clip, pairs, tmp_path, what, methods):
    out = tmp_path / "r.sqlite"
    done = call(clip, pairs, NIB, out)
    change, message = OTHER[what]
    with pytest.raises(ValueError, match=rf"r.sqlite holds another pair of id '{pairs[1].id}' \(.*{message}\): give the same"):
        call(clip, [pairs[0], changed(pairs[1], **change(pairs[1]))], methods, out)
    rows = read_results(out)
    same_rows(rows[rows["method"] == "nib"].reset_index(drop=True), done)
    assert set(rows.loc[rows["method"] == "m2ib", "pair"]) <= {pairs[0].id}


def test_the_same_picture_is_the_same_however_it_is_given(clip, pairs, tmp_path):
    pairs[0].image.save(tmp_path / "a.png")
    given = [pairs[0].image, tmp_path / "a.png", str(tmp_path / "a.png"), np.asarray(pairs[0].image)]
    tables = [call(clip, [changed(pairs[0], image=image)], NIB, tmp_path / "r.sqlite") for image in given]
    for table in tables[1:]:
        same_rows(table, tables[0])


def test_a_picture_that_is_gone_takes_no_rows_with_it(clip, pairs, tmp_path):
    """Nothing is mixed: its rows stay, and of a new method it has none."""
    pairs[0].image.save(tmp_path / "a.png")
    given = [changed(pairs[0], image=tmp_path / "a.png"), pairs[1]]
    done = call(clip, given, NIB, tmp_path / "r.sqlite")
    (tmp_path / "a.png").unlink()
    same_rows(call(clip, given, NIB, tmp_path / "r.sqlite"), done)
    with pytest.warns(UserWarning, match="1 of 2 pairs"):
        table = call(clip, given, FAST, tmp_path / "r.sqlite")
    assert list(table["method"]) == ["nib", "nib", "m2ib"] and "no file" in table.attrs["skipped"][0]["reason"]


def test_what_was_only_skipped_may_be_mended(clip, pairs, tmp_path):
    """It has no rows that could be mixed with others: a new caption or picture is explained without being asked for."""
    out, long = tmp_path / "r.sqlite", changed(pairs[0], caption="red " * 90)
    with pytest.warns(UserWarning, match="1 of 2 pairs"):
        call(clip, [long, pairs[1]], NIB, out)
    table = call(clip, pairs[:2], NIB, out)
    assert list(table["pair"]) == [pair.id for pair in pairs[:2]] and table.attrs["skipped"] == []
    assert read_results(out).attrs["skipped"] == []


# --- the model and all around it --------------------------------------------------------------------------------------


def with_processor(**settings):
    def change(clip):
        clip.image_processor = copy.deepcopy(clip.image_processor)
        for name, value in settings.items():
            setattr(clip.image_processor, name, value)

    return change


def with_word(clip):
    clip.tokenizer = copy.deepcopy(clip.tokenizer)
    clip.tokenizer.add_tokens(["heart shaped"])


def with_attention(clip):
    clip.model.set_attn_implementation("eager")


def with_activation(clip):
    clip.model.config.vision_config.hidden_act = "gelu"


def with_hook(clip):
    clip.model.vision_model.encoder.layers[2].register_forward_hook(lambda module, arguments, output: None)


def with_subclass(clip):
    block = clip.model.text_model.encoder.layers[0]
    block.__class__ = type("Adapter", (type(block),), {})


def with_half(clip):
    clip.model = clip.model.half()
    clip.__init__(clip.model, clip.tokenizer, clip.image_processor, clip.name)


MODELS = {
    "image_mean": (with_processor(image_mean=[0, 0, 0]), r"image_processor.image_mean \[0.48.* there, \[0, 0, 0\] here"),
    "size": (with_processor(size={"height": 224, "width": 224}), "image_processor.size "),
    "crop": (with_processor(do_center_crop=False), "image_processor.do_center_crop true there, false here"),
    "resample": (with_processor(resample=2), "image_processor.resample 3 there, 2 here"),
    "processor": (lambda clip: setattr(clip, "image_processor", type("Mine", (type(clip.image_processor),), {})()), "Mine here"),
    "tokenizer": (with_word, "tokenizer .* there, .* here"),
    "attention": (with_attention, "attention sdpa there, eager here"),
    "activation": (with_activation, "architecture .* there, .* here"),
    "hook": (with_hook, "architecture .* there, .* here"),
    "subclass": (with_subclass, "architecture .* there, .* here"),
    "dtype": (with_half, "dtype torch.float32 there, torch.float16 here"),
}


@pytest.mark.parametrize("change, message", MODELS.values(), ids=MODELS)
def test_another_model_or_processor_is_refused(clip, pairs, tmp_path, change, message):
    out, other = tmp_path / "r.sqlite", tiny()
    call(clip, pairs[:1], NIB, out)
    before = out.read_bytes()
    change(other)
    with pytest.raises(ValueError, match=f"were made under other settings .*{message}.*: call with the same ones to go on"):
        call(other, pairs, NIB, out)
    assert out.read_bytes() == before


def test_using_a_model_changes_nothing_of_its_description(clip, pairs):
    """Tokenizers keep the padding of their last call."""
    before = describe_model(clip)
    clip.prepare([pair.image for pair in pairs], [pair.caption for pair in pairs])
    assert describe_model(clip) == before == describe_model(tiny())
    bare = nk.Clip(clip.model)
    assert describe_model(bare)["tokenizer"] == "None" and describe_model(bare)["image_processor"] == "NoneType"


def test_hooks_that_only_count_are_no_other_model_but_others_are(clip):
    before = describe_model(clip)
    with nk.count_passes(clip):
        assert describe_model(clip) == before
    for register in ("register_forward_hook", "register_full_backward_hook"):
        handle = getattr(clip.model.visual_projection, register)(lambda *_: None)
        assert describe_model(clip)["architecture"] != before["architecture"]
        handle.remove()
    assert describe_model(clip) == before


def test_digests_tell_all_parts_apart():
    row = np.arange(2, dtype=np.uint8)
    parts = [(b"a\0", b"b"), (b"a", b"\0b"), (b"a\0b",), ("a\0b",), ("a", "\0b"), (b"a", b"\0b", b""), ()]
    parts += [(row,), (row[:, None],), (row.astype(np.int8),), (row.tobytes(),), (f"uint8 (2,) 2 {bytes(row).decode()}",)]
    assert len({digest(*some) for some in parts}) == len(parts) and digest(row) == digest(row.copy())


def test_settings_hold_no_address():
    def function():
        pass

    texts = [setting({"x": object(), "f": function, "kind": torch.float32}) for _ in range(2)]
    assert texts[0] == texts[1] and "0x" not in texts[0]
    assert "builtins.object" in texts[0] and f"{__name__}.{function.__qualname__}" in texts[0] and "torch.float32" in texts[0]


def test_a_nibkit_whose_numbers_are_others_is_refused(clip, pairs, tmp_path, monkeypatch):
    call(clip, pairs[:1], NIB, tmp_path / "r.sqlite")
    monkeypatch.setattr(evaluation, "RESULTS", 99)
    with pytest.raises(ValueError, match=r"results \d+ there, 99 here"):
        call(clip, pairs[:1], NIB, tmp_path / "r.sqlite")


def test_settings_that_are_gone_are_a_difference(clip, pairs, tmp_path):
    out = tmp_path / "r.sqlite"
    call(clip, pairs[:1], NIB, out)
    for statement, message in [
        ("DELETE FROM settings WHERE name = 'attention'", "attention none there, sdpa here"),
        ("INSERT INTO settings VALUES ('image_processor.blur', '3')", "image_processor.blur 3 there, none here"),
    ]:
        with contextlib.closing(sqlite3.connect(out)) as file, file:
            file.execute(statement)
        with pytest.raises(ValueError, match=message):
            call(clip, pairs[:1], NIB, out)


@pytest.mark.parametrize("schema", EARLIER)
def test_a_file_without_digests_can_be_read_but_not_gone_on_with(clip, pairs, tmp_path, schema):
    """As nibkit made them before it noted what rows are of."""
    out = tmp_path / "r.sqlite"
    done = call(clip, pairs[:1], NIB, out)
    with contextlib.closing(sqlite3.connect(out)) as file, file:
        for column in ADDED[schema]:
            file.execute(f"ALTER TABLE {'results' if column == 'digest' else 'pairs'} DROP COLUMN {column}")
        file.execute(f"PRAGMA user_version = {schema}")
    same_rows(read_results(out), done)
    with pytest.raises(ValueError, match=f"was begun by an earlier nibkit, which did not note {EARLIER[schema]}.* another file"):
        call(clip, pairs[:1], NIB, out)


# --- the methods ------------------------------------------------------------------------------------------------------


def written(function, **options) -> str:
    return read_methods({"x": (function, options)}, None, 0)[0].written


def plus(steps, clip, inputs, weights=None):
    return nk.nib(clip, inputs, num_steps=steps)


def test_methods_are_told_apart_by_all_that_they_are_called_with():
    weights = np.zeros(5000)
    other = weights.copy()
    other[2500] = 1e-9  # in the middle, which numpy's repr leaves out
    mine = functools.partial(plus, 3)
    assert written(mine, weights=weights) == written(functools.partial(plus, 3), weights=weights.copy())
    assert written(mine, weights=weights) != written(mine, weights=other) != written(mine, weights=torch.tensor(other))
    assert written(mine) != written(functools.partial(plus, 4)) and "plus" in written(mine)
    one, two = (lambda clip, inputs: nk.nib(clip, inputs, num_steps=1)), (lambda clip, inputs: nk.nib(clip, inputs, num_steps=2))
    assert written(one) == written(one)
    two = lambda clip, inputs: nk.nib(clip, inputs, num_steps=2)  # noqa: E731
    assert written(one) != written(two) and written(nk.nib) == "nibkit.nib.nib {}" != written("nib")
