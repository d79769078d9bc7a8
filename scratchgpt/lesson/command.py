"""`scratchgpt lesson list|open|build|notebook|check`."""

import tempfile
import textwrap
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scratchgpt.backend import available_cores
from scratchgpt.errors import InputError
from scratchgpt.files import write_text
from scratchgpt.lesson.cells import read_lesson
from scratchgpt.lesson.find import all_lessons, find_lesson

PORT = 8642
INDENTED = {"initial_indent": "    ", "subsequent_indent": "    "}


def add_arguments(parser):
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name, run, text):
        one = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(action=run)
        return one

    def several(one):
        one.add_argument("lessons", nargs="*", metavar="NN", help="numbers, names or files (default: all lessons)")

    def short(one):
        text = "a quick run: the values that # @short gives, and only the ends of the slider"
        one.add_argument("--short", action="store_true", help=text)

    action("list", list_lessons, "list the lessons: number, title, and what each asks of you")
    one = action("open", open_lesson, "open a lesson in the browser, to step through")
    one.add_argument("lesson", metavar="NN", help="a number (3), a name (attention) or a file")
    how = one.add_mutually_exclusive_group()
    how.add_argument("--term", action="store_true", help="step in this terminal instead")
    how.add_argument("--serve", action="store_true", help="serve the page to this machine alone, with a slider that "
                     "takes any value in its range")  # fmt: skip
    one.add_argument("--port", type=int, default=PORT, metavar="N", help=f"where --serve listens (default: {PORT})")
    one.add_argument("--no-browser", action="store_true", help="only say where the page is")
    short(one)
    one = action("build", build, "write lessons as pages, one self-contained HTML file each")
    several(one)
    one.add_argument("--out", default="pages", metavar="DIR", help="where to (default: pages)")
    short(one)
    one = action("notebook", notebooks, "write lessons as Jupyter notebooks, without outputs")
    several(one)
    one.add_argument("--out", metavar="DIR", help="where to (default: beside each lesson)")
    one = action("check", check, "run lessons as scripts and as pages, and hold them to their rules")
    several(one)
    short(one)


def main(args):
    return args.action(args)


def chosen(names):
    """The lessons that were asked for, or all."""
    return [read_lesson(path) for path in (map(find_lesson, names) if names else all_lessons())]


def at_once(function, lessons):
    """function of each lesson, several at a time, in order; each runs its lesson in a process of its own."""
    with ThreadPoolExecutor(available_cores()) as pool:
        yield from pool.map(function, lessons)


def list_lessons(args):
    for lesson in chosen([]):
        number, _, _ = lesson.name.partition("_")
        print(f"{number}  {lesson.title}")
        print(textwrap.fill(f"{lesson.needs} Homework: {', '.join(lesson.homework)}.", 100, **INDENTED))


def page_of(lesson, short):
    """The lesson's page. Raises InputError when it is larger than a page may be."""
    from scratchgpt.lesson.page import LARGEST, page
    from scratchgpt.lesson.recording import record

    text = page(lesson, record(lesson, short))
    size = len(text.encode("utf-8"))
    if size > LARGEST:
        raise InputError(f"{lesson.path}: its page has {size:,} bytes; expected {LARGEST:,} at most: use # @over")
    return text


def build(args):
    out = Path(args.out)
    lessons = chosen(args.lessons)
    out.mkdir(parents=True, exist_ok=True)
    for lesson, text in zip(lessons, at_once(lambda lesson: page_of(lesson, args.short), lessons)):
        path = out / f"{lesson.name}.html"
        write_text(path, text)
        print(f"{path}  {len(text.encode('utf-8')):,} bytes", flush=True)


def open_lesson(args):
    lesson = read_lesson(find_lesson(args.lesson))
    if args.term:
        from scratchgpt.lesson.terminal import step_through

        return step_through(lesson, args.short)
    if args.serve:
        from scratchgpt.lesson.serve import serve

        return serve(lesson, args.port, args.short, None if args.no_browser else webbrowser.open)
    path = Path(tempfile.mkdtemp(prefix="scratchgpt-")) / f"{lesson.name}.html"
    write_text(path, page_of(lesson, args.short))
    print(path)
    if not args.no_browser:
        webbrowser.open(path.as_uri())


def notebooks(args):
    from scratchgpt.lesson.notebook import notebook

    for lesson in chosen(args.lessons):
        path = lesson.path.with_suffix(".ipynb")
        if args.out is not None:
            Path(args.out).mkdir(parents=True, exist_ok=True)
            path = Path(args.out) / f"{lesson.name}.ipynb"
        write_text(path, notebook(lesson))
        print(path)


def check(args):
    from scratchgpt.lesson.rules import broken_rules

    lessons, failed = chosen(args.lessons), False
    for lesson, broken in zip(lessons, at_once(lambda lesson: broken_rules(lesson, args.short), lessons)):
        failed = failed or bool(broken)
        for n, said in enumerate(broken or ["ok"]):
            print(f"{'' if n else lesson.name:16} {said}", flush=True)
    return 1 if failed else 0
