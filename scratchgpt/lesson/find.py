"""Where the lessons are: in the package, or beside it in a source checkout."""

import difflib
from pathlib import Path

from scratchgpt.errors import InputError

PACKAGE = Path(__file__).parent.parent


def lessons_folder():
    """The folder of lessons: scratchgpt/lessons where the package is installed, ../lessons in a checkout."""
    installed = PACKAGE / "lessons"
    return installed if installed.is_dir() else PACKAGE.parent / "lessons"


def all_lessons():
    """The paths of the lessons, in order."""
    return sorted(lessons_folder().glob("[0-9]*/lesson.py"))


def find_lesson(name):
    """The path of a lesson given as a number (3, 03), a name (attention, 03_attention) or a path to a file.

    Raises InputError, with the nearest name, when there is none.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise InputError(f"{name} does not exist")
        return Path(name)
    known = {}
    for path in all_lessons():
        number, _, topic = path.parent.name.partition("_")
        known |= {str(int(number)): path, path.parent.name: path, topic: path}
    key = name.strip("/").split("/")[-1]
    key = str(int(key)) if key.isdecimal() else key
    if key in known:
        return known[key]
    names = [path.parent.name for path in all_lessons()]
    if not names:
        raise InputError(
            f"there is no lesson {name!r}: {lessons_folder()} holds none; give the path of a lesson's file"
        )
    nearest = difflib.get_close_matches(
        key.lower(), [known_name for known_name in known if not known_name.isdecimal()], 1, 0.5
    )
    if nearest:
        raise InputError(f"there is no lesson {name!r}; did you mean {known[nearest[0]].parent.name}?")
    raise InputError(f"there is no lesson {name!r}; the lessons are {', '.join(names)}")
