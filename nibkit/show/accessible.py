"""Parts of a widget that also say what they show: a picture with alternative text, and a line that is read out when it changes.

ipywidgets' own ``Image`` has no alternative text, and its ``Label`` takes ``$`` for mathematics.
"""

from __future__ import annotations

import base64
import html
from typing import Any

try:
    import ipywidgets
except ImportError as error:
    raise ImportError("nibkit's explorers need ipywidgets, which is not installed: pip install 'nibkit[notebooks]'") from error


class Picture(ipywidgets.HTML):
    """A PNG with its alternative text. png: the file's bytes, b"" while nothing is shown. alt: what it shows, in words."""

    def __init__(self) -> None:
        super().__init__()
        self.hide()

    def show(self, png: bytes, alt: str) -> None:
        """Put a picture in the place of what was shown; a wide one shrinks to the page."""
        self.png, self.alt = png, alt
        source, text = base64.b64encode(png).decode(), html.escape(alt, quote=True)
        self.value = f'<img src="data:image/png;base64,{source}" alt="{text}" style="max-width: 100%">'

    def hide(self) -> None:
        """Show nothing."""
        self.png, self.alt, self.value = b"", "", ""

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The picture and its metadata by MIME type, for pages that have no kernel; nothing while nothing is shown."""
        if not self.png:
            return {}, {}
        return {"image/png": base64.b64encode(self.png).decode()}, {"image/png": {"alt": self.alt}}


class Message(ipywidgets.HTML):
    """A line of plain text, "" at first, that a screen reader reads out when it changes. text: the line."""

    def __init__(self) -> None:
        super().__init__()
        self.tell("")

    def tell(self, text: str) -> None:
        """Put another line in its place."""
        self.text = text
        self.value = f'<div role="alert">{html.escape(text)}</div>' if text else ""
