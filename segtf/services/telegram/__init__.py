"""Answer photos in Telegram; `segtf.bot` is the command."""
