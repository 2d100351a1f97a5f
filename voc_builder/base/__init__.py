"""Shared by all modules: command lines, errors that the user can fix, files, progress."""
