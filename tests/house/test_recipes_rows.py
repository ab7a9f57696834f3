"""The longer measurements' files: a part that is measured again takes its own place, and nothing else is lost."""

import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

import nibkit as nk

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
sys.path.insert(0, str(RECIPES))

import make_faithfulness  # noqa: E402
import measure_scores  # noqa: E402

FILES = make_faithfulness.KEYS | {"model_scores": measure_scores.KEYS}
KEYS = ["model", "stage", "method"]
OLD = pd.DataFrame(
    [("shapes", "text", "nib", 0.1, 1), ("shapes", "image", "nib", 0.2, 2), ("emoji", "text", "nib", 0.3, 3)],
    columns=["model", "stage", "method", "image", "rise"],
)


@pytest.mark.parametrize("name", FILES)
def test_rows_of_a_stored_file_put_back_change_nothing(tmp_path, name):
    stored = make_faithfulness.RESULTS / f"{name}.csv"
    (tmp_path / stored.name).write_bytes(stored.read_bytes())
    make_faithfulness.put(tmp_path / stored.name, pd.read_csv(stored).iloc[1::2], FILES[name])
    assert (tmp_path / stored.name).read_bytes() == stored.read_bytes()


def test_a_part_that_is_measured_again_leaves_the_other_rows_and_columns(tmp_path):
    path = tmp_path / "x.csv"
    make_faithfulness.put(path, OLD, KEYS)
    part = pd.DataFrame({"model": "shapes", "stage": ["text", "last"], "method": "nib", "image": [0.5, 0.6], "random": [7, 8]})
    make_faithfulness.put(path, part, KEYS)
    assert path.read_text().splitlines() == [
        "model,stage,method,image,rise,random",
        "shapes,text,nib,0.5,1,7",
        "shapes,image,nib,0.2,2,",
        "emoji,text,nib,0.3,3,",
        "shapes,last,nib,0.6,,8",
    ]


def test_the_command_puts_what_it_was_asked_for_and_no_more(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_faithfulness, "RESULTS", tmp_path)
    monkeypatch.setattr(make_faithfulness, "methods_of", lambda clip: {"saliency": nk.saliency, "gradcam": nk.gradcam})
    for options in (["text", "image"], ["text", "--without", "gradcam"]):
        line = ["x", "shapes", "--only", "randomisation", "--pairs", "2", "--stages", *options]
        monkeypatch.setattr("sys.argv", line)
        make_faithfulness.main()
    rows = pd.read_csv(tmp_path / "randomisation.csv").groupby(["stage", "method"]).size()
    assert rows.to_dict() == {(stage, method): 6 for stage in ("text", "image") for method in ("saliency", "gradcam")}
    assert "randomisation.csv: 6 rows of shapes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line, message",
    [
        ("--stages nonsense", "--stages nonsense: the stages of shapes are image, text, image_projection"),
        ("--stages image nonsense", "--stages nonsense: "),
        ("--pairs 0", "--pairs 0: give 1 or more"),
    ],
)
def test_what_does_not_exist_is_refused_before_any_work(monkeypatch, capsys, line, message):
    monkeypatch.setattr(make_faithfulness, "RUNS", {})
    monkeypatch.setattr("sys.argv", ["x", *line.split()])
    with pytest.raises(SystemExit):
        make_faithfulness.main()
    assert message in capsys.readouterr().err


def test_two_processes_keep_each_others_blocks(tmp_path, monkeypatch):
    """What another process stores while this one measures stays, and it waits while this one writes."""
    file = tmp_path / "model_scores.csv"

    def block(clip, label, pairs):
        rows = pd.DataFrame({"model": clip.name, "method": label, "pair": pairs, "average_precision": 0.5})
        make_faithfulness.put(file, rows.assign(method=f"{label} of another"), measure_scores.KEYS)
        return rows

    monkeypatch.setattr(measure_scores, "FILE", file)
    monkeypatch.setattr(measure_scores, "callables", lambda clip: ["a", "b"])
    monkeypatch.setattr(measure_scores, "tqdm", lambda labels, desc: labels)
    monkeypatch.setattr(measure_scores, "measure", block)
    monkeypatch.setattr("sys.argv", ["x", "shapes"])
    measure_scores.main()
    methods = ("a", "b", "a of another", "b of another")
    assert pd.read_csv(file).groupby("method").size().to_dict() == dict.fromkeys(methods, measure_scores.PAIRS)

    waiting = threading.Thread(target=make_faithfulness.put, args=(tmp_path / "y.csv", OLD, KEYS))
    with make_faithfulness.alone(tmp_path / "y.csv"):
        waiting.start()
        time.sleep(0.3)
        assert not (tmp_path / "y.csv").exists()
    waiting.join()
    assert len(pd.read_csv(tmp_path / "y.csv")) == 3
