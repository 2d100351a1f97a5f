"""Import TensorFlow quietly, and read its errors."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any


def import_tensorflow() -> Any:
    """TensorFlow, without the greetings that it prints about processors and drivers while it is
    imported. They come from C++, past every setting, so the process's stderr is turned away. Its
    advice on how to trace functions is for whoever writes programs: its logger tells errors alone.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow

        tensorflow.config.list_physical_devices()  # looks for drivers, and says what it missed
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tensorflow


def reason_of(error: Any) -> str:
    """What a `tf.errors.OpError` is about, in a line: its message is "{{NODE}} PATH; REASON
    [Op:NAME]", of which REASON alone is always there.
    """
    message = re.sub(r"^\{\{.*?\}\} ?| ?\[Op:.*$", "", str(error.message).splitlines()[0])
    return message.rpartition("; ")[2]
