"""What can't be explained: listed with its reason, and the other rows are there."""

import contextlib
import sqlite3
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from evaluations import FAST, call, close_rows, same_rows

import nibkit as nk
from nibkit.evaluation.store import read_results


def test_bad_pairs_are_listed_with_their_reason(clip, pairs, whole, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    bad = [
        SimpleNamespace(id="gone", image=str(tmp_path / "gone.png"), caption="a ring"),
        SimpleNamespace(id="text", image=str(tmp_path / "text.png"), caption="a ring"),
        SimpleNamespace(id="long", image=pairs[0].image, caption="red " * 90),
        SimpleNamespace(id="empty", image=pairs[0].image, caption=" "),
        SimpleNamespace(id="none", image=pairs[0].image, caption=None),
    ]
    mixed = [one for both in zip(bad, pairs) for one in both]
    with pytest.warns(UserWarning, match=r"5 of 10 pairs were skipped.*the first is 'gone': image: there is no file"):
        table = call(clip, mixed, out=tmp_path / "r.sqlite")
    skipped = pd.DataFrame(table.attrs["skipped"])
    assert list(skipped["pair"]) == [pair.id for pair in bad] and set(skipped["method"]) == {""}
    for reason, part in zip(skipped["reason"], ["no file", "no readable picture", "caption has 92 tokens", "caption is empty",
                                                "caption must be a string"]):  # fmt: skip
        assert part in reason
    close_rows(table, whole.head(10))
    with contextlib.closing(sqlite3.connect(tmp_path / "r.sqlite")) as file:
        assert file.execute("SELECT count(*), count(DISTINCT reason) FROM skipped").fetchone() == (5, 5)


def test_what_was_skipped_is_tried_again_on_request_only(clip, pairs, tmp_path):
    picture, out = tmp_path / "late.png", tmp_path / "r.sqlite"
    mixed = [pairs[0], SimpleNamespace(id="late", image=str(picture), caption="a red ring"), pairs[1]]
    with pytest.warns(UserWarning, match="1 of 3"):
        first = call(clip, mixed, out=out)
    pairs[2].image.save(picture)
    with pytest.warns(UserWarning, match="1 of 3"):
        same_rows(call(clip, mixed, out=out), first)
    table = call(clip, mixed, out=out, retry_skipped=True)
    assert list(table["pair"]) == ["scene 0"] * 2 + ["late"] * 2 + ["scene 1"] * 2 and table.attrs["skipped"] == []
    same_rows(read_results(out), table)


def test_a_map_with_nan_is_skipped_for_that_method_alone(clip, pairs, whole):
    marked = clip.prepare(pairs[3].image, pairs[3].caption).pixel_values

    def spoiled(clip, inputs, side="image"):
        att = nk.nib(clip, inputs, num_steps=2)
        hit = [torch.equal(pixels, marked[0]) for pixels in inputs.pixel_values]
        getattr(att, side)[hit] = float("nan")
        return att

    for side in ("image", "text"):
        with pytest.warns(UserWarning, match="'scene 3': the map holds NaN or infinity"):
            table = call(clip, pairs, FAST | {"spoiled": (spoiled, {"side": side})})
        assert table.attrs["skipped"] == [{"pair": "scene 3", "method": "spoiled", "reason": "the map holds NaN or infinity"}]
        assert list(table.loc[table["pair"] == "scene 3", "method"]) == list(FAST) and len(table) == 17
        rest, nib = (table[table["method"] == method].set_index("pair") for method in ("spoiled", "nib"))
        assert (rest["image_drop"] == nib["image_drop"].drop("scene 3")).all()


def test_a_method_that_refuses_one_pair_keeps_the_others(clip, pairs):
    refused = clip.prepare(pairs[1].image, pairs[1].caption).pixel_values

    def picky(clip, inputs):
        if any(torch.equal(pixels, refused[0]) for pixels in inputs.pixel_values):
            raise ValueError("I do not like this picture")
        return nk.nib(clip, inputs, num_steps=2)

    with pytest.warns(UserWarning, match="1 of 6"):
        table = call(clip, pairs, {"picky": picky})
    assert table.attrs["skipped"] == [{"pair": "scene 1", "method": "picky", "reason": "I do not like this picture"}]
    assert list(table["pair"]) == [f"scene {i}" for i in (0, 2, 3, 4, 5)]


def test_a_method_that_never_works_ends_the_run(clip, pairs):
    with pytest.raises(
        ValueError, match="method 'nib' fails on every pair of its first batch: layer must be a whole number within 0 … 5"
    ):
        call(clip, pairs, ["nib"], options={"nib": {"layer": 99}})
