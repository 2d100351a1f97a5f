"""A data set in; a trained, measured, exported segmentation network out."""

import os

# packages that report to their makers read these when they are imported, which is after this one
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
