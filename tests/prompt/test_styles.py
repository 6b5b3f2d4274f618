"""Styles are joined as in AUTOMATIC1111, and its styles.csv is read where it lies."""

import pytest

from sd_ui.prompt.styles import Style, merged, read


@pytest.mark.parametrize(
    ("text", "styles", "result"),
    [
        ("a cat", [], "a cat"),
        (" a cat ", ["oil painting"], "a cat, oil painting"),
        ("a cat", ["photo of {prompt}, sharp", "grainy"], "photo of a cat, sharp, grainy"),
        ("", ["oil"], "oil"),
        ("a cat", [""], "a cat"),
        ("a", ["{prompt} and {prompt}"], "a and a"),
    ],
)
def test_a_style_goes_around_or_behind_the_prompt(text, styles, result):
    assert merged(text, styles) == result


def test_csv_and_toml_of_files_and_folders(tmp_path):
    own = tmp_path / "own.csv"
    own.write_text('\ufeffname,prompt,negative_prompt\r\nOil, "oil, thick\r\npaint",blurry\r\n,nothing,\r\nBare,x\r\n', encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old.csv").write_text("name,text\nOil,replaced\nInk,ink drawing\n")
    (tmp_path / "folder" / "new.toml").write_text('["Sharp photo"]\nprompt = "photo of {prompt}"\n')
    (tmp_path / "folder" / "wrong.toml").write_text("[x]\nprompt = 3\n")
    (tmp_path / "folder" / "read.me").write_text("no style")
    found = read((tmp_path / "folder", own, tmp_path / "missing.csv"))
    assert found == {
        "Sharp photo": Style("Sharp photo", "photo of {prompt}"),
        "Ink": Style("Ink", "ink drawing"),
        "Oil": Style("Oil", "oil, thick\npaint", "blurry"),
        "Bare": Style("Bare", "x"),
    }


def test_a_file_that_makes_no_sense_is_logged_and_left_out(tmp_path, caplog):
    (tmp_path / "wrong.toml").write_text("[x\n")
    assert read((tmp_path,)) == {} and "wrong.toml is not used" in caplog.text
