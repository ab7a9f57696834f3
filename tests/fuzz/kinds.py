"""The kinds of cases, by name."""

from .captions import a_caption
from .lines import a_line
from .models import a_model
from .pictures import a_picture
from .results import a_result_file
from .tables import a_table

KINDS = {
    "pictures": a_picture,
    "captions": a_caption,
    "tables": a_table,
    "results": a_result_file,
    "models": a_model,
    "lines": a_line,
}
