"""`scratchgpt homework list|start|check|train|report`."""

import sys
from pathlib import Path

from scratchgpt.errors import InputError

REFUSED = {"missing", "signature"}  # a file that cannot be graded: bad input rather than a wrong answer


def add_arguments(parser):
    parser.epilog = "A student's file runs in a process of its own, behind a fence against accidents; it is no sandbox."
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name, run, text):
        one = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(act=run)
        return one

    action("list", list_exercises, "the exercises and their variants")
    one = action("start", start, "write the file to fill in")
    one.add_argument("name", metavar="NAME", help="an exercise, or one of its variants as NAME/VARIANT")
    one.add_argument("--out", metavar="FILE", help="default: NAME.py here")
    one.add_argument("--keep-forward", action="store_true", help="the forward is given; the rest is to be written")
    one.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    one = action("check", check, "grade a file: what is right, what is wrong, and why")
    one.add_argument("file", metavar="FILE")
    add_grading(one)
    one.add_argument("--json", metavar="FILE", nargs="?", const="-", help="the report as JSON (default: to the screen)")
    one.add_argument("--junit", metavar="FILE", help="the report as JUnit XML")
    one.add_argument("--gradescope", metavar="FILE", help="the report as Gradescope's results.json")
    one = action("train", train, "train a small GPT with your op in it, beside the same run with the library's")
    one.add_argument("file", metavar="FILE")
    one.add_argument("--steps", type=int, default=150, metavar="N", help="default: 150")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    one.add_argument("--out", metavar="DIR", help="where loss.png goes (default: runs/homework-NAME)")
    one = action("report", report, "grade a folder of submissions: who passed, and which mistakes were common")
    one.add_argument("directory", metavar="DIR", help="DIR/STUDENT.py, or DIR/STUDENT/*.py")
    add_grading(one)
    one.add_argument("--json", action="store_true", help="the same as JSON")


def add_grading(parser):
    parser.add_argument("--exercise", metavar="NAME", help="default: what the file's first line says")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other numbers to grade with (default: 0)")


def main(args):
    if getattr(args, "seed", 0) < 0:
        raise InputError(f"--seed is {args.seed}; expected 0 or more")
    return args.act(args)


def list_exercises(args):
    from scratchgpt.homework.exercises import exercise_names, find_exercise

    for name in exercise_names():
        exercise = find_exercise(name)
        variants = f" (variant: {', '.join(exercise.variants)})" if exercise.variants else ""
        print(f"{name:<16} {exercise.title}{variants}")
    print("Begin with: scratchgpt homework start bpe")


def start(args):
    from scratchgpt.files import write_text
    from scratchgpt.homework.exercises import find_exercise, variant_of
    from scratchgpt.homework.start import starter

    name, _, variant = args.name.partition("/")
    exercise = variant_of(find_exercise(name), variant)
    out = Path(args.out or f"{name}{'_' if variant else ''}{variant}.py")
    if out.is_file() and not args.force:
        raise InputError(f"{out} is there already; give another --out, or --force to overwrite it")
    must_be_writable(out)
    write_text(out, starter(exercise, args.name, args.keep_forward))
    print(f"{out} is ready: fill in the functions, then: scratchgpt homework check {out}")


def must_be_writable(path):
    """An InputError where no file can be written."""
    if path.is_dir():
        raise InputError(f"{path} is a directory; give a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a directory; make it first, or write elsewhere")


def check(args):
    from scratchgpt.files import write_text
    from scratchgpt.homework import formats
    from scratchgpt.homework.grade import check, refused
    from scratchgpt.homework.show import show

    wanted = {args.json: formats.to_json, args.junit: formats.to_junit, args.gradescope: formats.to_gradescope}
    files = {Path(path): write for path, write in wanted.items() if path not in (None, "-")}
    for path in files:
        must_be_writable(path)
    try:
        found, failure = check(args.file, args.exercise, args.seed), None
    except InputError as error:
        if not files:
            raise
        found, failure = refused(args.file, args.exercise, str(error)), error
    for path, write in files.items():
        write_text(path, write(found))
    if failure:
        raise failure
    if found.refusals and REFUSED & set().union(*(each.ids for each in found.refusals)):
        raise InputError(f"{args.file}: {'; '.join(map(str, found.refusals))}")
    if args.json == "-":
        sys.stdout.write(formats.to_json(found))
    elif found.refusals:
        print(f"{found.file} was not graded:", *found.refusals, sep="\n  ")
    else:
        show(found)
    return 0 if found.passed else 1


def train(args):
    from scratchgpt.homework.train import compare_training

    return compare_training(args.file, args.steps, args.seed, args.out)


def report(args):
    from scratchgpt.homework.classroom import report_on

    return report_on(args.directory, args.exercise, args.seed, args.json)
