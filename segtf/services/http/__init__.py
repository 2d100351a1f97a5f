"""Answer images over HTTP; `segtf.serve` is the command."""
