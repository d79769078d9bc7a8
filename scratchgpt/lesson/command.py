"""`scratchgpt lesson list|open|build|notebook|check`."""

import tempfile
import webbrowser
from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.files import write_text
from scratchgpt.lesson.cells import read_lesson
from scratchgpt.lesson.find import all_lessons, find_lesson


def add_arguments(parser):
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, run, text in (
        ("list", list_lessons, "the lessons, and what each is about"),
        ("open", open_lesson, "make a lesson's page and open it in the browser"),
        ("build", build, "write lessons as pages, one self-contained HTML file each"),
        ("check", check, "run lessons and hold them to their rules"),
    ):
        one = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(action=run)
        if name == "list":
            continue
        several = name != "open"
        one.add_argument(
            "lessons" if several else "lesson", nargs="*" if several else None, metavar="NN",
            help="a number, a name or a file" + (" (default: all lessons)" if several else ""),
        )  # fmt: skip
        one.add_argument("--short", action="store_true", help="a quick run, with the values that # @short gives")
        if name == "build":
            one.add_argument("--out", default="pages", metavar="DIR", help="where to (default: pages)")
        if name == "open":
            one.add_argument("--no-browser", action="store_true", help="only print where the page is")


def main(args):
    return args.action(args)


def chosen(names):
    """The lessons that were asked for, or all."""
    paths = [find_lesson(name) for name in names] if names else all_lessons()
    if not paths:
        find_lesson("1")  # says where it looked
    return [read_lesson(path) for path in paths]


def list_lessons(args):
    for lesson in chosen([]):
        print(f"{lesson.name:16} {lesson.title}")


def build(args):
    lessons = chosen(args.lessons)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for lesson in lessons:
        path = out / f"{lesson.name}.html"
        size = write_page(lesson, path, args.short)
        print(f"{path}  {size:,} bytes", flush=True)


def write_page(lesson, path, short):
    from scratchgpt.lesson.page import LARGEST, page
    from scratchgpt.lesson.recording import record

    text = page(lesson, record(lesson, short))
    size = len(text.encode("utf-8"))
    if size > LARGEST:
        raise InputError(f"{lesson.path}: its page has {size:,} bytes, more than {LARGEST:,}; mark calls with # @over")
    write_text(path, text)
    return size


def open_lesson(args):
    lesson = read_lesson(find_lesson(args.lesson))
    folder = Path(tempfile.gettempdir()) / "scratchgpt-lessons"
    folder.mkdir(exist_ok=True)
    path = folder / f"{lesson.name}.html"
    write_page(lesson, path, args.short)
    print(path)
    if not args.no_browser:
        webbrowser.open(path.as_uri())


def check(args):
    from scratchgpt.lesson.rules import broken_rules

    failed = 0
    for lesson in chosen(args.lessons):
        broken = broken_rules(lesson, args.short)
        failed += bool(broken)
        print(f"{lesson.name:16} {'ok' if not broken else 'FAILS: ' + broken[0]}", flush=True)
        for rule in broken[1:]:
            print(f"{'':16} FAILS: {rule}")
    return 1 if failed else 0
