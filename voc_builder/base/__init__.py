"""What every module needs: the command line, errors that the user can fix, files, progress."""
