"""Lessons: plain Python files that run as scripts and open as pages to step through, line by line.

`Heat`, `Curves` and `Bars` show values in a lesson, in a notebook and in a terminal.
"""

from scratchgpt.lesson.show import Bars, Curves, Heat

__all__ = ["Bars", "Curves", "Heat"]
