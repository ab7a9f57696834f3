"""The stopwatch's own checks: all ways give the same sums, operations are counted rightly, lines are fitted rightly."""

import pandas as pd
import pytest
import torch
from helpers import same, state, tiny_clip, tiny_inputs

import nibkit as nk
from benchmarks import accuracy as tradeoffs
from benchmarks import implementations as ways
from benchmarks import speed as bench
from benchmarks import tables as speed
from nibkit.methods.cut import CutEncoder
from nibkit.metrics import costs
from nibkit.resources import data_dir
from tools import pages


@pytest.mark.parametrize("side", ["image", "text"])
def test_all_ways_give_the_same_sums(side):
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3, 8))
    target = clip.encode_text(inputs) if side == "image" else clip.encode_image(inputs)
    before = state(clip)
    found = [way(clip, inputs, target, 3, 6, side) for way in bench.WAYS.values()]
    att = nk.nib(clip, inputs, layer=3, num_steps=6)
    want = torch.cat([att.class_token[:, None], att.image.flatten(1)], 1) if side == "image" else att.text
    for sums in found:
        for row, expected, length in zip(sums, want, CutEncoder(clip.image if side == "image" else clip.text, inputs, 3).length):
            assert torch.allclose(row[:length], expected[:length], atol=1e-6)
    assert same(before["grads"], state(clip)["grads"]) and not any(w.requires_grad for w in clip.model.parameters())


def test_operations_are_counted():
    a, b = torch.randn(3, 5), torch.randn(5, 7).requires_grad_()
    with costs.CountFlops() as counter:
        (a @ b).sum().backward()  # a is no leaf that needs one: one product forward, one backward
    assert counter.total == 2 * 2 * 3 * 5 * 7


def test_attention_is_counted_on_every_device():
    """4 · B · H · S² · d forward (two products); backward five products, by torch's formula for the fused kernel."""
    q, k, v = torch.randn(3, 2, 4, 10, 8).requires_grad_()
    with costs.CountFlops() as counter:
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        forward = counter.total
        mixed.sum().backward()
    assert forward == 4 * 2 * 4 * 10 * 10 * 8 and counter.total == forward * (1 + 5 / 2)


def test_captum_computes_no_padding_either():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    assert ways.captum(clip, inputs[:1], clip.encode_image(inputs[:1]), 3, 2, "text").shape == (1, 5)


def test_the_plain_loop_leaves_frozen_weights_behind_also_when_it_fails():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    with pytest.raises(RuntimeError):
        ways.plain_loop(clip, inputs, torch.zeros(2, 3), 3, 2, "image")  # a target of another size
    assert not any(w.requires_grad or w.grad is not None for w in clip.model.parameters())


def test_a_straight_line_is_one_and_a_bent_one_is_not():
    assert bench.slope([1, 2, 3, 4], lambda n: 3 * n + 1)[1:] == pytest.approx((3, 1))
    assert bench.slope([1, 2, 3, 4, 8], lambda n: n**3)[2] < 0.95


def test_fewest_gradients_to_a_gap():
    """On [.05, 1] nine log-spaced nodes do at the most, the paper's even steps need far more."""
    ours, _ = tradeoffs.gradients_to_gap("log-gauss", 0.05, list(range(2, 12)), pairs=4)
    evenly, _ = tradeoffs.gradients_to_gap("riemann", 0.05, [5, 10, 20, 30], pairs=4)
    assert ours is not None and ours <= 9
    assert evenly is None


def test_how_close_fewer_bits_come():
    """Autocast's map must keep float32's order (rank correlation above .99), or it may not be recommended."""
    rows = pd.DataFrame(tradeoffs.fewer_bits(pairs=4)).set_index(["way", "side"])
    assert rows.loc[("autocast bfloat16", "image"), "rank_median"] > 0.99
    assert (rows["rank_lowest"] <= rows["rank_median"]).all() and (rows["seconds"] > 0).all()
    assert (rows["rank_median"] < 1).any(), "nothing was computed with fewer bits"


@pytest.fixture
def small(monkeypatch):
    """The stopwatch on a tiny model: what is tested is that every part measures, stores and shows what it says."""
    size = {"image_size": 224, "patch_size": 56, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 49408}
    monkeypatch.setattr(bench, "matrix_rate", lambda device: 1e11)
    monkeypatch.setattr(ways, "GEOMETRIES", {"ViT-B/32": (size | {"num_hidden_layers": 4}, text | {"num_hidden_layers": 4}, 16)})


def test_every_part_is_stored_and_shown(small, tmp_path, capsys):
    path = tmp_path / "bench.csv"
    parts = ["ways", "stages", "methods", "slopes", "memory"]
    table = bench.main(["--geometry", "ViT-B/32", "--pairs", "1", "3", "--parts", *parts, "--out", str(path)])
    said, stored = capsys.readouterr().out, pd.read_csv(path)
    assert len(stored) == len(table) and path.with_suffix(".png").stat().st_size > 10_000
    found = stored[stored["part"] == "ways"]
    assert len(found) == 2 * 2 * 6 and set(found["way"]) == {*bench.WAYS, "floor"}
    assert (found["seconds"] > 0).all() and (found.loc[found["way"] == "nibkit", "ratio"] == 1).all()
    stages = stored[stored["part"] == "stages"]
    assert list(stages["way"]) == ["head", "F(z)", "F(0)", "gradients"] * 4
    assert (stages[["seconds", "flops", "reading"]] > 0).all(axis=None)
    methods = stored[stored["part"] == "methods"].set_index("way")
    assert list(methods.index) == [*nk.METHODS, "interactions"]
    tokens = sum(ways.LENGTHS[:4]) / 4  # 8 nodes: a picture's row back for each of its caption's tokens, or for D = 16
    assert methods.loc["interactions", "forward"] == 2 * (8 + 2) and methods.loc["interactions", "backward"] > 8 * tokens
    assert methods.loc["nib", ["forward", "backward"]].tolist() == [24, 20] and methods.loc["m2ib", "backward"] == 200
    assert methods.loc["rise", "forward"] == 6202  # one look at the whole and 6000 masks, one and 200
    assert set(stored["part"]) >= {"slope num_steps", "slope pairs", "slope layer", "slope tokens", "memory"}
    assert "in how many times nibkit's" in said and "R² of the straight line" in said
    text = speed.markdown(stored)
    assert "| ViT-B/32 | 3 | both |" in text and "| chefer |" in text and "R²" in text


def test_what_would_take_too_long_is_left_out(small, capsys):
    table = bench.main(["--geometry", "ViT-B/32", "--pairs", "1", "--parts", "ways", "--budget", "1e-9"])
    assert table.empty and "left out, a round would take about" in capsys.readouterr().out


def test_the_page_has_the_tables_as_they_are():
    """If this fails: make pages."""
    page = (data_dir().parent / "docs" / "speed.md").read_text(encoding="utf-8")
    assert page == pages.speed_page()
    paths = list((data_dir() / "bench").glob("*.csv"))
    assert paths
    for path in paths:
        assert speed.markdown(pd.read_csv(path)) in page and f"../data/bench/{path.stem}.png" in page
