"""Every exercise's check accepts the reference and refuses the mistakes that ``wrong_answers`` lists for it.

The hidden tests accept the reference as well, and refuse what ``fitted_answers`` lists: answers that the check lets pass.
"""

import pytest
from exercises import FOLDER, answered, as_in_a_kernel_of_its_own, exercises, listed, run_check, run_hidden  # noqa: F401

from tools.hidden import all_tests, hidden_tests

WRONG, FITTED = listed("wrong_answers", "WRONG"), listed("fitted_answers", "FITTED")
NUMBERS = sorted(path.name[:2] for path in FOLDER.glob("*.ipynb"))
EVERY = [(number, name) for number in NUMBERS for name in exercises(number)]
NOTHING_TO_FIT = {("06", "a_sign_that_misleads")}  # it asks for two numbers


def fitted(number: str, name: str) -> dict[str, str]:
    """An exercise's fitted answers, also if they were written for another notebook, from which it has moved."""
    moved = [answers[name] for answers in FITTED.values() if name in answers and not name.startswith("exercise_")]
    return FITTED.get(number, {}).get(name) or next(iter(moved), {})


def tried(number: str, exercise: int, code: str | None) -> None:
    """The exercise answered so and checked."""
    name = list(exercises(number))[exercise - 1]
    run_check(number, name, answered(number, name, code))


def labelled(value) -> str:
    return str(value).replace(" ", "_")


CHECKS = [(number, e, mistake) for number, by in WRONG.items() for e, mistakes in by.items() for mistake in (None, *mistakes)]


@pytest.mark.parametrize("number, exercise, mistake", CHECKS, ids=labelled)
def test_the_check_knows_right_from_wrong(number, exercise, mistake, as_in_a_kernel_of_its_own):  # noqa: F811
    if mistake is None:
        tried(number, exercise, None)
    else:
        with pytest.raises(AssertionError) as refused:
            tried(number, exercise, WRONG[number][exercise][mistake])
        assert str(refused.value), "the check says nothing of what is wrong"


@pytest.mark.parametrize("number", sorted(WRONG))
def test_every_exercise_has_two_wrong_answers_at_least(number):
    written = {exercise for exercise, names in WRONG[number].items() if len(names) >= 2}
    assert written == set(range(1, len(exercises(number)) + 1))


HIDDEN = [(number, name, mistake) for number, name in EVERY for mistake in (None, *fitted(number, name))]


@pytest.mark.parametrize("number, name, mistake", HIDDEN, ids=labelled)
def test_hidden_tests_know_right_from_fitted(number, name, mistake, as_in_a_kernel_of_its_own):  # noqa: F811
    if mistake is None:
        run_hidden(number, name, answered(number, name))
        return
    code = fitted(number, name)[mistake]
    run_check(number, name, answered(number, name, code))  # lets it pass
    with pytest.raises(AssertionError) as refused:
        run_hidden(number, name, answered(number, name, code))
    assert str(refused.value).splitlines()[0], "the hidden test says nothing of what is wrong"


def test_every_exercise_has_hidden_tests_and_a_fitted_answer():
    for number, name in EVERY:
        assert fitted(number, name) or (number, name) in NOTHING_TO_FIT, f"{number}: {name} has no fitted answer"
    written = {name for _, name in all_tests()} | {name for answers in FITTED.values() for name in answers}
    assert written == {name for _, name in EVERY}, "tests of exercises that are no more"


def test_an_exercise_without_hidden_tests_is_named():
    with pytest.raises(ValueError, match=r"exercise 7 of 03 has no hidden tests: .*hidden/03.py needs hidden_why_not\(\)"):
        hidden_tests("03", "Why not?", 7)
    with pytest.raises(ValueError, match="exercise 9 of 05 .* needs hidden_exercise_9"):
        hidden_tests("05", "", 9)
    moved = hidden_tests("07", "A noisy typewriter", 1)  # an exercise that moved keeps its tests
    assert moved.startswith("def hidden_a_noisy_typewriter(typewriter):")
    assert moved.endswith("\nhidden_a_noisy_typewriter(typewriter)")


def test_of_two_exercises_with_one_title_each_needs_its_own_hidden_test(monkeypatch):
    function = all_tests()["01", "a_noisy_typewriter"]
    monkeypatch.setattr("tools.hidden.all_tests", lambda: {(number, "a_noisy_typewriter"): function for number in ("01", "02")})
    assert hidden_tests("01", "A noisy typewriter", 1).startswith("def hidden_")
    with pytest.raises(ValueError, match=r"stands in 01.py and 02.py: whose is exercise 1 of 07\?"):
        hidden_tests("07", "A noisy typewriter", 1)
