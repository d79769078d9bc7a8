"""Homework: exercises on the library's own functions, and a check that says which mistake was made.

spec.py says what an exercise is, exercises/ holds them; start.py cuts the file a student fills in; runner.py and
student.py run it in a process of its own; grade.py and diagnose.py find what is wrong; show.py, formats.py and
classroom.py tell it to students and teachers; train.py puts a student's op into a real model.
"""
