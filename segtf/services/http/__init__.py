"""Answer photos over HTTP; `segtf.serve` is the command."""
