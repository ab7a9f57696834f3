"""Student versions: solutions gone, the rest untouched, still notebooks; the checks that follow then fail as they should."""

import nbformat
import pytest

from tools import student


@pytest.mark.parametrize("path", sorted(student.FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_only_the_solutions_go(path):
    before = nbformat.read(path, as_version=4)
    after = student.student_version(nbformat.read(path, as_version=4))
    nbformat.validate(after)
    assert len(after.cells) == len(before.cells)
    for old, new in zip(before.cells, after.cells):
        if old.cell_type == "markdown":
            assert old.source == new.source
            continue
        assert new.outputs == [] and new.execution_count is None and "SOLUTION" not in new.source
        solved = "### BEGIN SOLUTION" in old.source
        assert (old.source != new.source) == solved
        if solved:
            compile(new.source, path.name, "exec")
            assert new.source.startswith(old.source.split("### BEGIN SOLUTION")[0])
            assert new.source.endswith(old.source.split("### END SOLUTION")[-1])


def test_an_exercise_without_an_answer_says_so():
    source = "def half(x):\n    ### BEGIN SOLUTION\n    return x / 2\n    ### END SOLUTION\n"
    namespace = {}
    exec(student.without_solutions(source), namespace)
    with pytest.raises(NotImplementedError):
        namespace["half"](2)


def test_marks_that_do_not_pair_are_refused():
    cell = nbformat.v4.new_code_cell("def half(x):\n    ### BEGIN SOLUTION\n    return x / 2\n")
    with pytest.raises(ValueError, match="do not pair"):
        student.student_version(nbformat.v4.new_notebook(cells=[cell]))


def test_the_command_writes_those_that_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["student", "03", "--out", str(tmp_path)])
    student.main()
    assert [path.name for path in tmp_path.iterdir()] == ["03_theorem_1.ipynb"]
    assert f"1 notebooks for students: {tmp_path}" in capsys.readouterr().out


def test_a_name_that_no_notebook_has_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["student", "03", "97", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        student.main()
    assert "no notebook of that name in notebooks/: 97" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_notebooks_themselves_are_never_overwritten(tmp_path, monkeypatch, capsys):
    """Neither as the folder, nor by a link to one of them."""
    before = {path.name: path.read_bytes() for path in student.FOLDER.iterdir() if path.is_file()}
    (tmp_path / "link").symlink_to(student.FOLDER)
    (tmp_path / "03_theorem_1.ipynb").symlink_to(student.FOLDER / "03_theorem_1.ipynb")
    for out, error in (
        (student.FOLDER, "is where the notebooks lie"),
        (tmp_path / "link", "is where the notebooks lie"),
        (tmp_path, "is an input, too"),
        (tmp_path / "03_theorem_1.ipynb", "can't be a folder (File exists)"),
    ):
        monkeypatch.setattr("sys.argv", ["student", "03", "--out", str(out)])
        with pytest.raises(SystemExit):
            student.main()
        assert error in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in student.FOLDER.iterdir() if path.is_file()} == before
