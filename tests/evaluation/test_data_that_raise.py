"""Data sets that raise, give nothing or give no pairs: what can be had is explained, the rest is listed."""

from types import SimpleNamespace

import pytest
from evaluations import NIB, call, close_rows

from nibkit.data import shapes
from nibkit.evaluation.reading import check_kind_of
from nibkit.evaluation.store import read_results

COUNT, ASKED = 4, NIB  # what the fixtures ``pairs`` and ``whole`` are made of


class Lazy:
    """A map-style data set, as torch has them: a length, numbers, no ``__iter__``, no IndexError."""

    def __init__(self, pairs, *bad):
        self.pairs, self.bad = pairs, bad

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        if i in self.bad:
            raise OSError(f"row {i} is damaged")
        return self.pairs[i % len(self.pairs)]


class Stubborn:
    """An iterator that raises at one pair and goes on behind it."""

    def __init__(self, pairs, bad, times=1):
        self.rest, self.bad, self.times = list(pairs), bad, times

    def __iter__(self):
        return self

    def __next__(self):
        if len(self.rest) == self.bad and self.times:
            self.times -= 1
            raise RuntimeError("no pair today")
        if not self.rest:
            raise StopIteration
        return self.rest.pop(0)


def test_rows_that_a_data_set_cannot_give_are_listed_by_their_position(clip, pairs, whole, tmp_path):
    out = tmp_path / "r.sqlite"
    with pytest.warns(UserWarning, match="1 of 4 pairs were skipped.*the first is 'position 2': row 2 is damaged"):
        table = call(clip, Lazy(pairs, 2), NIB, out)
    close_rows(table, whole.drop(index=2).reset_index(drop=True))
    close_rows(call(clip, Lazy(pairs), NIB, out), whole)
    assert read_results(out).attrs["skipped"] == []
    with pytest.warns(UserWarning, match="1 of 5 pairs.*'position 2': RuntimeError: no pair today"):
        assert len(call(clip, Stubborn(pairs, 2), NIB)) == 4


def test_what_is_no_pair_among_pairs_costs_its_own_row(clip, pairs, whole):
    """The very first is another matter: then the whole data set is none."""
    strange = [None, shapes.sample(1)[0], SimpleNamespace(**vars(pairs[0]) | {"id": 0.5})]
    with pytest.warns(UserWarning, match="3 of 7 pairs.*'position 1': pair 1 must have id, image and caption.*got NoneType"):
        table = call(clip, [pairs[0], *strange, *pairs[1:]], NIB)
    close_rows(table, whole)
    assert table.attrs["skipped"][2]["reason"] == "the id of pair 3 must be text or a whole number; got 0.5"
    with pytest.raises(TypeError, match="pair 0 must have id, image and caption"):
        call(clip, [None, *pairs], NIB)
    with pytest.raises(TypeError, match="pair 0 must have id, image and caption.*got SimpleNamespace"):
        call(clip, [SimpleNamespace(id=1, caption="a ring", picture=pairs[0].image)], NIB)


def test_a_pair_is_checked_without_its_picture_being_read(pairs):
    class Lazy:
        id, caption, read = 1, "a ring", 0

        @property
        def image(self):
            self.read += 1

    class Asking:
        def __getattr__(self, name):
            if name == "image":
                raise OSError("it was read")
            return getattr(pairs[0], name)

    lazy = Lazy()
    check_kind_of(lazy, 0)
    check_kind_of(Asking(), 0)
    assert lazy.read == 0


def test_a_generator_that_raises_ends_the_data_but_not_the_run(clip, pairs):
    def broken():
        yield from pairs[:3]
        raise RuntimeError("gone")

    with pytest.warns(UserWarning, match="1 of 4 pairs.*'position 3': RuntimeError: gone; a generator ends at its first error"):
        assert len(call(clip, broken(), NIB)) == 3


def test_data_that_give_nothing_but_errors_are_an_error(clip, pairs):
    def broken():
        raise RuntimeError("gone")
        yield

    with pytest.raises(RuntimeError, match="gone"):
        call(clip, broken(), NIB)
    with pytest.raises(RuntimeError, match="no pair today"):
        call(clip, Stubborn(pairs, 2, times=10**9), NIB)
