"""Import TensorFlow without its startup messages, and shorten its errors."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any


def import_tensorflow() -> Any:
    """The module `tensorflow`. Its startup messages come from C++ and ignore every setting, so the
    stderr of the process is redirected meanwhile. Its logger is set to errors.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow

        tensorflow.config.list_physical_devices()  # prints what drivers it misses
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tensorflow


def reason_of(error: Any) -> str:
    """REASON of a `tf.errors.OpError`, whose message is "{{NODE}} PATH; REASON [Op:NAME]"; all
    other parts may be missing.
    """
    message = re.sub(r"^\{\{.*?\}\} ?| ?\[Op:.*$", "", str(error.message).splitlines()[0])
    return message.rpartition("; ")[2]
