"""The table of classes of a report's page."""

from typing import Any

from ganlet.report.classes import MOST_CLASSES, class_table


def report(classes: int = 3) -> dict[str, Any]:
    share = {"value": 0.5, "low": 0.25, "high": 0.75}
    one = {"count": 60, "agreement": share, "quality": {"fd_lite0_60": {"value": 12.5, "low": 1.0, "high": 20.0}}}
    row = {"agreement": share, "per_class": {f"class {number}": one for number in range(classes)}}
    classifier = {"what": "machine", "learnt": 900, "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}}
    return {"stages": {"teacher": row}, "artifacts": [{"path": "generator.onnx", **row}], "classifier": classifier}


def test_each_class_has_a_row_with_a_cell_for_each_generator() -> None:
    table = class_table(report())
    assert table is not None and table.headings == ["teacher", "generator.onnx"]
    assert [name for name, _ in table.rows] == ["all", "class 0", "class 1", "class 2"]
    assert table.rows[0][1][0] == ("50 %", "25 to 75", "") and table.rows[1][1][1] == (
        "50 %",
        "25 to 75",
        "distance 12.5",
    )
    assert "900 training pictures" in table.note and "90 % of real ones" in table.note


def test_a_report_without_classes_or_with_damaged_ones_has_no_table() -> None:
    assert class_table({"stages": {"teacher": {"quality": {}}}, "artifacts": []}) is None
    damaged = class_table({"stages": {"teacher": {"per_class": {"a": 3, "b": {"agreement": "x"}}}}})
    assert damaged is not None and damaged.rows[1][1] == [("", "", "")]


def test_of_very_many_classes_the_first_are_shown() -> None:
    table = class_table(report(MOST_CLASSES + 20))
    assert table is not None and len(table.rows) == MOST_CLASSES + 1 and f"first {MOST_CLASSES} of" in table.note
