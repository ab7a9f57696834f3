"""One bad pair costs one row: it is listed with the reason, the run goes on, and a later call can complete it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluations import ERRORS, NIB, Speechless, call, close_rows, same_rows

from nibkit.evaluation.attempts import reason_of
from nibkit.evaluation.store import read_results
from nibkit.model.pictures import to_rgb

COUNT, ASKED = 4, NIB  # what the fixtures ``pairs`` and ``whole`` are made of


class Raising:
    """A pair one of whose parts raises as long as there is an error to raise."""

    def __init__(self, pair, part: str, error: BaseException | None):
        self.pair, self.part, self.error = pair, part, error

    def get(self, part):
        if part == self.part and self.error is not None:
            raise self.error
        return getattr(self.pair, part)

    id, image, caption, masks = (property(lambda self, part=part: self.get(part)) for part in ("id", "image", "caption", "masks"))


@pytest.mark.parametrize("part", ["id", "image", "caption", "masks"])
def test_whatever_a_pair_raises_costs_its_own_row(clip, pairs, whole, tmp_path, part):
    out, bad = tmp_path / "r.sqlite", [Raising(pairs[1], part, error) for error in ERRORS]
    for one in bad:
        mixed = [pairs[0], one, *pairs[2:]]
        with pytest.warns(UserWarning, match="1 of 4 pairs were skipped"):
            table = call(clip, mixed, NIB, out, retry_skipped=True)
        close_rows(table, whole.drop(index=1).reset_index(drop=True))
        (row,) = table.attrs["skipped"]
        assert row["pair"] == ("position 1" if part == "id" else "scene 1") and row["method"] == ""
        assert row["reason"] == reason_of(one.error) and row["reason"].isprintable() and row["reason"].encode()
    bad[-1].error = None
    table = call(clip, mixed, NIB, out, retry_skipped=True)
    close_rows(table, whole)
    assert table.attrs["skipped"] == read_results(out).attrs["skipped"] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, torch.OutOfMemoryError])
def test_what_no_pair_is_the_cause_of_ends_the_run(clip, pairs, error):
    with pytest.raises(error):
        call(clip, [pairs[0], Raising(pairs[1], "image", error("stop"))], NIB)


def test_reasons_are_one_short_line_that_can_be_stored():
    assert reason_of(RuntimeError("a\n  b\tc")) == "RuntimeError: a b c"
    assert reason_of(ValueError("\x1b[31m \x07")) == r"\x1b[31m \x07"
    assert reason_of(ValueError()) == "ValueError" and reason_of(Speechless()) == "Speechless"
    assert reason_of(ValueError("\ud83d")) == "\\ud83d" and len(reason_of(TypeError("x" * 10**6))) == 500


def test_the_number_in_a_batch_of_one_is_left_out_of_nibkits_own_messages_alone(clip, pairs):
    def error_of(call):
        with pytest.raises((ValueError, TypeError)) as raised:
            call()
        return raised.value

    def theirs():
        raise ValueError("pair 0 of file x has caption 0.5")

    empty, unread = error_of(lambda: clip.prepare(pairs[0].image, " ")), error_of(lambda: clip.prepare(b"caption 0", "a ring"))
    assert reason_of(empty) == "caption 0 is empty: write what the picture should be compared with"
    assert reason_of(empty, alone=True).startswith("caption is empty")
    assert reason_of(unread, alone=True) == str(unread).replace("image 0", "image")
    with pytest.raises(FileNotFoundError) as raised:
        to_rgb("of image 0 .png", "image")
    lost = raised.value
    assert "image 0" in reason_of(lost, alone=True) == str(lost)
    assert reason_of(error_of(theirs), alone=True) == "pair 0 of file x has caption 0.5"
    with pytest.warns(UserWarning, match="1 of 2 pairs.*'scene 0': caption is empty"):
        call(clip, [SimpleNamespace(**vars(pairs[0]) | {"caption": " "}), pairs[1]], NIB)


HELD_BY_NO_FILE = {
    "name that is not UTF-8": ({"id": "caf\udce9.jpg"}, "caf\\udce9.jpg", "its id holds half a character"),
    "65 bits": ({"id": 2**63}, str(2**63), "its id is a number of over 64 bits"),
    "negative": ({"id": -(2**63) - 1}, str(-(2**63) - 1), "its id is a number of over 64 bits"),
    "many digits": ({"id": 10**5000}, hex(10**5000), "its id is a number of over 64 bits"),
    "half a character": ({"caption": "a red \ud83d heart"}, "scene 1", "its caption holds half a character"),
}


@pytest.mark.parametrize("out", [None, "r.sqlite"])
@pytest.mark.parametrize("change, id, reason", HELD_BY_NO_FILE.values(), ids=HELD_BY_NO_FILE)
def test_a_pair_that_no_file_can_hold_is_listed(clip, pairs, whole, tmp_path, monkeypatch, out, change, id, reason):
    monkeypatch.chdir(tmp_path)
    bad = SimpleNamespace(**vars(pairs[1]) | change)
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 4 pairs"):
            table = call(clip, [pairs[0], bad, *pairs[2:]], NIB, out)
        close_rows(table, whole.drop(index=1).reset_index(drop=True))
        (row,) = table.attrs["skipped"]
        assert row["pair"] == id and row["reason"].startswith(reason)
    if out:
        assert read_results(out).attrs["skipped"] == table.attrs["skipped"]
        close_rows(call(clip, pairs, NIB, out), whole)  # mended
        assert read_results(out).attrs["skipped"] == []


def test_the_largest_ids_are_held(clip, pairs, tmp_path):
    ids = [2**63 - 1, -(2**63), "", "nul \0", "😀"]
    given = [SimpleNamespace(**vars(pairs[0]) | {"id": id}) for id in ids]
    assert list(call(clip, given, NIB, tmp_path / "r.sqlite")["pair"]) == ids
    assert list(call(clip, given, NIB, tmp_path / "r.sqlite")["pair"]) == ids


def test_rows_of_a_caption_are_not_kept_for_another_that_cannot_be_held(clip, pairs, tmp_path):
    call(clip, pairs[:2], NIB, tmp_path / "r.sqlite")
    with pytest.raises(ValueError, match="holds another pair of id 'scene 1'"):
        call(clip, [SimpleNamespace(**vars(pairs[1]) | {"caption": "\ud83d"})], NIB, tmp_path / "r.sqlite")


def test_a_lost_gpu_is_no_pairs_fault_wherever_it_is_met(clip, pairs):
    for part in ("id", "caption", "image"):
        with pytest.raises(torch.AcceleratorError):
            call(clip, iter([pairs[0], Raising(pairs[1], part, torch.AcceleratorError("lost"))]), NIB)


def test_masks_of_any_size_and_kind(clip, pairs):
    sizes = [np.ones((2, 224, 224), bool), torch.ones(1, 224, 224, dtype=torch.bool), np.ones((1, 9), bool), None]
    given = [SimpleNamespace(**vars(pair) | {"masks": masks}) for pair, masks in zip(pairs, sizes)]
    with pytest.warns(UserWarning, match="1 of 4 pairs.*'scene 2'"):
        table = call(clip, given, NIB)
    assert len(table) == 3


def test_the_same_call_again_changes_nothing(clip, pairs, tmp_path):
    bad = Raising(pairs[1], "image", RuntimeError("no"))
    tables = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 2"):
            tables.append(call(clip, [pairs[0], bad], NIB, tmp_path / "r.sqlite"))
    same_rows(*tables)
