"""The explorer for readers who listen: every control is named, the figure is told in words, messages are read out."""

import html

import numpy as np

from nibkit.show import explorer as widgets
from nibkit.show.wording import signed


def test_a_message_is_plain_text_that_is_read_out(clip, scenes):
    explorer = widgets.explorer(clip, scenes)
    explorer.caption.value = "a red <b>$x$</b>"
    assert 'alt="“a red &lt;b&gt;$x$&lt;/b&gt;”: F = ' in explorer.picture.value
    explorer.path.value = "<b>$x$</b>.png"
    assert "<b>$x$</b>.png" in explorer.message.text
    assert explorer.message.value == f'<div role="alert">{html.escape(explorer.message.text)}</div>'


def test_every_control_has_a_description_and_every_picture_an_alternative_text(clip, scenes):
    widget = widgets.explorer(clip, scenes)
    *rows, message, picture = widget.children
    assert all(control.description for row in rows for control in row.children) and message is widget.message
    assert widget.upload.tooltip
    found, alt = widget.explanation, picture.alt
    assert alt.startswith(f"“{scenes[0].caption}”: F = ") and "m2ib (paper)'s map" in alt
    row, column = np.unravel_index(int(found.attribution.image.argmax()), (7, 7))
    assert f"highest at row {row}, column {column} (counted from 0, of 7 × 7)" in alt
    told = [*found.attribution.words_of(0), *found.bill().items()]
    told += [(f"{removal.phrase}: the map says", removal.predicted) for removal in found.removals]
    told += [("F loses", removal.real) for removal in found.removals]
    for name, value in told:
        assert f"{name} {signed(value)}" in alt, name
    widget.lam.value, widget.second.value, widget.paint.value = 0.05, None, None
    assert "up to λ = 0.05: sum +0.000" in picture.alt and "Beside it" not in picture.alt
