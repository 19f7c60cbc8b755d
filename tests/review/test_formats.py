"""Each format is written for judges and reads back what they put in; a blind one shows nothing."""

import csv
import json
import xml.etree.ElementTree as ElementTree

import pytest
from review_population import drawn, entities, population

from touchstone.errors import UserError
from touchstone.review import formats
from touchstone.review.formats.label_studio import configuration
from touchstone.review.sampling import draw

ENDS = ("html", "csv", "xlsx", "json", "jsonl")


@pytest.mark.parametrize("end", ENDS)
def test_a_blind_file_holds_neither_source_nor_label(tmp_path, end):
    review = drawn()
    path = tmp_path / f"r.{end}"
    formats.write(review, path)
    content = path.read_bytes()
    if end == "xlsx":
        import openpyxl

        lines = openpyxl.load_workbook(path)["judge"].iter_rows(values_only=True)
        content = repr(list(lines)).encode()
    for word in (b"silver", b"bronze"):
        assert word not in content
    for name in review.items["example_id"]:
        assert name.encode() not in content
    assert sum(item.encode() in content for item in review.items["item"]) == len(review.items)


@pytest.mark.parametrize("end", ENDS)
def test_with_labels_shown_they_stand_in_the_file(tmp_path, end):
    review = drawn(shows_labels=True)
    path = tmp_path / f"r.{end}"
    formats.write(review, path)
    if end == "xlsx":
        import openpyxl

        cells = [c for line in openpyxl.load_workbook(path)["judge"].values for c in line]
        assert "silver" in cells and "wandering" in cells
        return
    assert "wandering" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("end", ["csv", "xlsx"])
def test_a_filled_sheet_comes_back(tmp_path, end):
    review = drawn(asks=["realistic"])
    path = tmp_path / f"r.{end}"
    formats.write(review, path)
    if end == "csv":
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
        rows[0] |= {"label": "falls", "label_2": "wandering", "realistic": "Yes", "comment": "odd"}
        rows[1] |= {"label": "none"}
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), delimiter=";")  # as a European Excel
            writer.writeheader()
            writer.writerows(rows)
    else:
        import openpyxl

        book = openpyxl.load_workbook(path)
        sheet = book["judge"]
        head = [cell.value for cell in sheet[1]]
        for row, name, value in (
            (2, "label", "falls"),
            (2, "label_2", "wandering"),
            (2, "realistic", "yes"),
            (2, "comment", "odd"),
            (3, "label", "none"),
        ):
            sheet.cell(row=row, column=head.index(name) + 1, value=value)
        book.save(path)
    back = formats.read(path, review, "Ann")
    assert back["labels"].tolist() == [["falls", "wandering"], []]
    assert back["item"].tolist() == review.items["item"].head(2).tolist()
    assert back["realistic"].tolist() == ["yes", ""] and set(back["expert"]) == {"Ann"}


def test_cells_are_text_and_drop_down(tmp_path):
    import openpyxl

    frame = population()
    frame["text"] = ["=1+1 \x1b" + text for text in frame["text"]]
    review = draw(
        frame,
        kind="multiclass",
        categories={"falls": "Falls", "wandering": "W"},
        definitions={},
        n=20,
        seed=0,
    )
    path = tmp_path / "r.xlsx"
    formats.write(review, path)
    sheet = openpyxl.load_workbook(path)["judge"]
    assert sheet["B2"].data_type == "s" and sheet["B2"].value.startswith("=1+1")
    rules = {str(rule.sqref): rule.formula1 for rule in sheet.data_validations.dataValidation}
    assert rules["C2:C21"] == "=labels!$A$1:$A$3" or rules["C2:C21"] == "labels!$A$1:$A$3"


def exported(review, path, **first):
    """A Label Studio export of a written file: the first task judged as given, the second not."""
    tasks = json.loads(path.read_text(encoding="utf-8"))
    result = [
        {"from_name": name, "to_name": "text", "type": "x", "value": value}
        for name, value in first.items()
    ]
    tasks[0]["annotations"] = [{"completed_by": {"email": "ann@x"}, "result": result}]
    for task in tasks[1:]:
        task["annotations"] = [{"completed_by": 2, "was_cancelled": True, "result": result}]
    path.write_text(json.dumps(tasks))


def test_label_studio_choices_come_back(tmp_path):
    review = drawn(asks=["identifier"])
    path = tmp_path / "r.json"
    formats.write(review, path)
    layout = ElementTree.fromstring(path.with_suffix(".xml").read_text())
    assert [choice.get("value") for choice in layout.find("Choices[@name='label']")] == [
        "falls",
        "wandering",
        "none",
    ]
    exported(review, path, label={"choices": ["falls"]}, identifier={"choices": ["no"]})
    back = formats.read(path, review)
    assert len(back) == 1 and back["labels"][0] == ["falls"] and back["identifier"][0] == "no"
    assert back["expert"][0] == "expert ann@x"


def test_label_studio_spans_are_counted_as_browsers_do(tmp_path):
    review = entities(shows_labels=True)
    path = tmp_path / "r.json"
    formats.write(review, path)
    value = json.loads(path.read_text())[0]["predictions"][0]["result"][0]["value"]
    assert (value["start"], value["end"], value["text"]) == (6, 9, "flu")  # the emoji is two
    assert "<Labels" in configuration(review)
    exported(review, path, label={"start": 6, "end": 9, "labels": ["Drug"]})
    assert formats.read(path, review)["spans"][0] == [{"start": 5, "end": 8, "type": "Drug"}]


def test_doccano_comes_back_for_each_annotator(tmp_path):
    review = entities(shows_labels=True)
    path = tmp_path / "ann.jsonl"
    formats.write(review, path)
    assert json.loads(path.read_text().splitlines()[0])["label"] == [[6, 9, "Disease"]]
    assert json.loads(path.with_suffix(".labels.json").read_text())[0] == {"text": "Disease"}
    back = formats.read(path, review)
    assert back["spans"][0] == [{"start": 5, "end": 8, "type": "Disease"}]
    assert set(back["expert"]) == {"ann"}
    choices = drawn()
    formats.write(choices, path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["label"], lines[1]["label"] = ["falls"], ["none"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert formats.read(path, choices)["labels"].tolist() == [["falls"], []]


def test_marked_copies_of_sentences_come_back(tmp_path):
    review = entities()
    path = tmp_path / "r.csv"
    formats.write(review, path)
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows[0]["marked"] = rows[0]["text"].replace("flu", "<Disease>flu</Disease>")
    rows[1]["marked"] = "none"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert formats.read(path, review)["spans"].tolist() == [
        [{"start": 5, "end": 8, "type": "Disease"}],
        [],
    ]
    rows[0]["marked"] = "something <Disease>else</Disease>"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(UserError, match="line 2: the marked copy differs from the text") as told:
        formats.read(path, review)
    assert "else" not in str(told.value)


def test_what_is_no_format_or_no_export_is_told(tmp_path):
    review = drawn()
    with pytest.raises(UserError, match="no format ends so; use .html, .json, .jsonl, .csv, .xlsx"):
        formats.write(review, tmp_path / "r.pdf")
    with pytest.raises(UserError, match='no format "docx".*csv, doccano, label_studio, page, xlsx'):
        formats.write(review, tmp_path / "r.html", "docx")
    (tmp_path / "r.json").write_text('[{"text": "a"}]')
    with pytest.raises(UserError, match='choose Export, then "JSON"'):
        formats.read(tmp_path / "r.json", review)
    (tmp_path / "r.json").write_text('{"touchstone_review": "00000000"}')
    with pytest.raises(UserError, match=f"judgements of review 00000000, not {review.id}"):
        formats.read(tmp_path / "r.json", review)


def test_a_sentence_in_a_csv_sheet_is_no_formula_and_comes_back(tmp_path):
    frame = population()
    frame["text"] = ["- no falls, " + text for text in frame["text"]]
    review = draw(frame, kind="ner", categories={"falls": "Falls"}, definitions={}, n=12, seed=0)
    path = tmp_path / "r.csv"
    formats.write(review, path)
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert all(row["text"].startswith("'- no falls") for row in rows)
    rows[0]["marked"] = rows[0]["text"].replace("falls", "<falls>falls</falls>", 1)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    spans = formats.read(path, review, "Ann")["spans"][0]
    assert [(span["start"], span["end"]) for span in spans] == [(5, 10)]
