"""Show on a run's page what was exported, how well it agrees, and what each precision costs."""

from __future__ import annotations

from html import escape
from pathlib import Path
from shlex import quote
from typing import Any

from segtf.exporting.quality import quality_head, quality_rows
from segtf.inference.postprocess import describe
from segtf.outputs.page import missing, prose, table

Json = dict[str, Any]


def export_section(run: Path, export: Json | None) -> str:
    """The body of the section, from `export.json`."""
    command = f"python -m segtf.export {quote(str(run))}"
    if export is None:
        return missing(f"There is no export.json: {command}")
    rows = [
        [
            f"{escape(c['a'])} – {escape(c['b'])}",
            f"{c['largest_difference']:.1e}",
            f"{100 * c['equal_argmax']:.4f}&nbsp;%",
            _verdict(c["passed"]),
        ]
        for c in export["comparisons"]
    ]
    head = ["pair", "largest difference of a probability", "pixels of equal class", ""]
    limits = export["tolerance"]
    text = f"On {export['photos']} real images; allowed: {limits['probability']:g} and "
    text += f"{limits['argmax']:.2%}."
    if "onnx" in export:
        megabytes = export["onnx"]["bytes"] / 1e6
        text += f" model.onnx: {megabytes:.1f} MB, opset {export['onnx']['opset']}."
    return f'{table(head, rows)}<p class="soft">{escape(text)}</p>{_precisions(export, command)}'


def _precisions(export: Json, command: str) -> str:
    """What each precision costs, and what is done to the masks; nothing of an older export."""
    if "precisions" not in export:
        return ""
    rows = [[escape(cell) for cell in row] for row in quality_rows(export)]
    text = (
        f"Speed is measured with {export['provider']}, all in turn in one measurement. Changes "
        "are of the IoU on val against Keras; a dash: not measured, since it answers as Keras does."
        f" Others: {command} --precision float16 (for GPUs) or int8 (for CPUs)."
    )
    swept = f"Post-processing: {describe(export.get('postprocess'))}."
    return (
        f'{table(quality_head(export), rows)}<p class="soft">{prose(text)}</p><p>{prose(swept)}</p>'
    )


def _verdict(passed: bool) -> str:
    return f'<span class="{"good" if passed else "bad"}">{"passed" if passed else "FAILED"}</span>'
