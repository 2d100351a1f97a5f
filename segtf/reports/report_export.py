"""Show on a run's page what was exported, how well it agrees, and what each precision costs."""

from __future__ import annotations

from html import escape
from pathlib import Path
from shlex import quote

from segtf.exporting.quality import quality_head, quality_rows
from segtf.exporting.report import EQUAL_ARGMAX, LARGEST_DIFFERENCE, ExportReport
from segtf.inference.postprocess import describe
from segtf.outputs.page import missing, prose, table


def export_section(run: Path, export: ExportReport | None) -> str:
    """The body of the section, from `export.json`."""
    command = f"python -m segtf.export {quote(str(run))}"
    if export is None:
        return missing(f"There is no export.json, or one of an earlier version: {command}")
    rows = [
        [
            f"{escape(each.a)} – {escape(each.b)}",
            f"{each.largest_difference:.1e}",
            f"{100 * each.equal_argmax:.4f}&nbsp;%",
            _verdict(each.passed),
        ]
        for each in export.comparisons
    ]
    head = ["pair", "largest difference of a probability", "pixels of equal class", ""]
    text = (
        f"On {export.images} real images; allowed: {LARGEST_DIFFERENCE:g} and {EQUAL_ARGMAX:.2%}. "
        f"model.onnx: {export.onnx_bytes / 1e6:.1f} MB, opset {export.opset}."
    )
    return f'{table(head, rows)}<p class="soft">{escape(text)}</p>{_precisions(export, command)}'


def _precisions(export: ExportReport, command: str) -> str:
    """The cost of each precision, and the post-processing of masks."""
    rows = [[escape(cell) for cell in row] for row in quality_rows(export)]
    text = (
        f"Speed is measured with {export.provider}, all in turn in one measurement. Changes "
        "are of the IoU on val against Keras; a dash: not measured, since it answers as Keras does."
        f" Others: {command} --precision float16 (for GPUs) or int8 (for CPUs)."
    )
    rules = f"Post-processing: {describe(export.postprocess)}."
    return (
        f'{table(quality_head(export), rows)}<p class="soft">{prose(text)}</p><p>{prose(rules)}</p>'
    )


def _verdict(passed: bool) -> str:
    return f'<span class="{"good" if passed else "bad"}">{"passed" if passed else "FAILED"}</span>'
