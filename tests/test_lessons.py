"""Every lesson runs, as a script and as a page, keeps to the rules, and what it asserts holds."""

import re

import pytest

from scratchgpt.homework.exercises import exercise_names
from scratchgpt.lesson.cells import read_lesson
from scratchgpt.lesson.find import all_lessons
from scratchgpt.lesson.rules import broken_rules

LESSONS = {path.parent.name: path for path in all_lessons()}


def test_lessons_are_numbered_from_1_without_gaps():
    assert [int(name.partition("_")[0]) for name in LESSONS] == list(range(1, len(LESSONS) + 1)) != []


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_keeps_its_rules_and_its_claims(name):
    assert broken_rules(read_lesson(LESSONS[name]), short=True) == []


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_names_homework_that_exists(name):
    named = re.findall(r"scratchgpt homework start (\w+)", read_lesson(LESSONS[name]).source)
    assert named
    assert set(named) <= set(exercise_names())
