"""The stopwatch's own checks: all ways give the same sums, operations are counted rightly, lines are fitted rightly."""

import pandas as pd
import pytest
import torch
from helpers import same, state, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit import bench, ways
from nibkit.side import Side


@pytest.mark.parametrize("side", ["image", "text"])
def test_all_ways_give_the_same_sums(side):
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3, 8))
    target = clip.encode_text(inputs) if side == "image" else clip.encode_image(inputs)
    before = state(clip)
    found = [way(clip, inputs, target, 3, 6, side) for way in (ways.plain_loop, ways.captum, ways.nibkit)]
    att = nk.nib(clip, inputs, layer=3, num_steps=6)
    want = torch.cat([att.class_token[:, None], att.image.flatten(1)], 1) if side == "image" else att.text
    for sums in found:
        for row, expected, length in zip(sums, want, Side(clip.image if side == "image" else clip.text, inputs, 3).length):
            assert torch.allclose(row[:length], expected[:length], atol=1e-6)
    assert same(before["grads"], state(clip)["grads"]) and not any(w.requires_grad for w in clip.model.parameters())


def test_operations_are_counted():
    a, b = torch.randn(3, 5), torch.randn(5, 7).requires_grad_()
    with bench.CountFlops() as counter:
        (a @ b).sum().backward()  # a is no leaf that needs one: one product forward, one backward
    assert counter.total == 2 * 2 * 3 * 5 * 7


def test_a_straight_line_is_one_and_a_bent_one_is_not():
    assert bench.slope([1, 2, 3, 4], lambda n: 3 * n + 1)[1:] == pytest.approx((3, 1))
    assert bench.slope([1, 2, 3, 4, 8], lambda n: n**3)[2] < 0.95


def test_fewest_gradients_to_a_gap():
    """On [.05, 1] nine log-spaced nodes do at the most, the paper's even steps need far more."""
    ours, _ = bench.gradients_to_gap("log-gauss", 0.05, list(range(2, 12)), pairs=4)
    evenly, _ = bench.gradients_to_gap("riemann", 0.05, [5, 10, 20, 30], pairs=4)
    assert ours is not None and ours <= 9
    assert evenly is None


def test_table_is_stored(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "build", lambda pairs, *_: (tiny_clip(), tiny_inputs((5, 8, 3)[:pairs])))
    bench.main(["--parts", "ways", "--pairs", "2", "3", "--repeats", "1", "--layer", "3", "--out", str(tmp_path / "bench.csv")])
    table = pd.read_csv(tmp_path / "bench.csv")
    assert len(table) == 2 * 2 * 4 and set(table.way) == {"plain loop", "captum", "nibkit", "floor"}
    assert (table.seconds > 0).all() and (table[table.way == "nibkit"].ratio == 1).all()
    assert "in how many times nibkit's" in capsys.readouterr().out
