"""A method that raises, or returns too few maps or strange ones, on one pair: that row is listed, the others are kept."""

from dataclasses import replace

import pytest
import torch
from evaluations import ERRORS, NIB, call, close_rows

import nibkit as nk
from nibkit.evaluation.attempts import attempt, reason_of

COUNT, ASKED = 4, NIB  # what the fixtures ``pairs`` and ``whole`` are made of


def marking(clip, pair):
    """A function that says which rows of a batch are of this pair."""
    pixels = clip.prepare(pair.image, pair.caption).pixel_values[0]
    return lambda inputs: [torch.equal(row, pixels) for row in inputs.pixel_values]


@pytest.mark.parametrize(
    "error, batch_size, position",
    [(error, 2, 2) for error in ERRORS] + [(RuntimeError("bad"), size, place) for size in (1, 8) for place in (0, 2)],
)
def test_whatever_a_method_raises_costs_the_pairs_row(clip, pairs, whole, error, batch_size, position):
    hit = marking(clip, pairs[position])

    def picky(clip, inputs):
        if any(hit(inputs)):
            raise error
        return nk.nib(clip, inputs, num_steps=2)

    with pytest.warns(UserWarning, match="1 of 4"):
        table = call(clip, pairs, {"nib": picky}, batch_size=batch_size)
    close_rows(table, whole.drop(index=position).reset_index(drop=True))
    assert table.attrs["skipped"] == [{"pair": f"scene {position}", "method": "nib", "reason": reason_of(error)}]


def changed_maps(**change):
    return lambda att: replace(att, **{name: f(getattr(att, name)) for name, f in change.items()})


WRONG = {
    "no map": (lambda att: None, "must return an nk.Attribution; got NoneType"),
    "a tensor": (lambda att: att.image, "must return an nk.Attribution; got Tensor"),
    "none of it": (lambda att: att[[]], r"image must be \[1, gh, gw\] for 1 pairs; got \[0, 4, 4\]"),
    "too many": (lambda att: att[[0, 0]], r"image must be \[1, gh, gw\]"),
    "a flat map": (changed_maps(image=lambda m: m.flatten(1)), r"image must be \[1, gh, gw\] for 1 pairs; got \[1, 16\]"),
    "an array": (changed_maps(image=lambda m: m.numpy()), "image must be a torch.Tensor; got ndarray"),
    "a token too few": (changed_maps(text=lambda m: m[:, 1:]), "text must be"),
    "pixels": (changed_maps(pixels=lambda m: torch.zeros(1, 3, 9, 9)), r"pixels must be \[1, H, W\]"),
    "infinite": (changed_maps(image=lambda m: m / 0), "the map holds NaN or infinity"),
}


@pytest.mark.parametrize("wrong, reason", WRONG.values(), ids=WRONG)
def test_maps_of_a_wrong_shape_cost_the_pairs_row(clip, pairs, whole, wrong, reason):
    hit = marking(clip, pairs[1])

    def spoiled(clip, inputs):
        att = nk.nib(clip, inputs, num_steps=2)
        return wrong(att) if any(hit(inputs)) else att

    with pytest.warns(UserWarning, match=f"'scene 1': .*{reason}"):
        table = call(clip, pairs, {"nib": spoiled}, batch_size=1)
    close_rows(table, whole.drop(index=1).reset_index(drop=True))


def test_a_batch_that_fails_as_a_whole_alone_goes_pair_by_pair(clip, pairs, whole):
    """Maps too few for a batch, right for a pair: no row is lost."""
    table = call(clip, pairs, {"nib": lambda clip, inputs: nk.nib(clip, inputs[:1], num_steps=2)})
    close_rows(table, whole)
    assert table.attrs["skipped"] == []


def test_attempts():
    def call(rows):
        if 3 in rows or len(rows) > 2:
            raise ValueError(str(rows))
        return sum(rows)

    assert attempt(call, [1, 2]) == ([([1, 2], 3)], {}) and attempt(call, []) == ([], {})
    parts, bad = attempt(call, [1, 3, 2])
    assert parts == [([1, 2], 3)] and {row: str(error) for row, error in bad.items()} == {3: "[3]"}
    assert attempt(call, [1, 2, 4]) == ([([1], 1), ([2], 2), ([4], 4)], {})
    parts, bad = attempt(call, [1, 2, 3, 4])
    assert parts == [([1], 1), ([2], 2), ([4], 4)] and list(bad) == [3]
