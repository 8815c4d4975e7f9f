"""Files that are read by name are known, files that are written are not taken for them."""

from __future__ import annotations

import pytest

from jupyter_pipelines.notebook.files import files_read

READ = (
    "pd.read_csv('a.csv')",
    "pd.read_csv(Path('a.csv'))",
    "open('a.csv').read()",
    "with open('a.csv', 'rb') as f:\n    pass",
    "open('a.csv', mode='r')",
    "Path('a.csv').read_text()",
    "pathlib.Path('a.csv').open()",
    "np.load('a.csv')",
    "pickle.load(open('a.csv', 'rb'))",
    "DATA = 'a.csv'\nx = pl.read_csv(DATA)",
    "DATA = Path('a.csv')\nx = DATA.read_bytes()",
    "x = [pd.read_json(one) for one in ()] + [pd.read_csv('a.csv')]",
)


@pytest.mark.parametrize("code", READ)
def test_what_is_read_is_known(code: str) -> None:
    assert files_read([code]) == ("a.csv",)


def test_a_name_may_stand_in_another_piece() -> None:
    assert files_read(["DATA = 'a.csv'", "def load():\n    return open(DATA)"]) == ("a.csv",)


@pytest.mark.parametrize(
    "code",
    [
        "open('a.csv', 'w')",
        "open('a.csv', 'a').write('x')",
        "open('a.csv', mode=how)",
        "Path('a.csv').write_text('x')",
        "Path('a.csv').open('w')",
        "frame.to_csv('a.csv')",
        "print('a.csv')",
        "pd.read_csv('https://example.org/a.csv')",
        "pd.read_csv(raw)",
        "figure.savefig('a.csv')",
    ],
)
def test_what_is_written_printed_or_far_away_is_not(code: str) -> None:
    assert files_read([code]) == ()


WRITTEN = (
    "frame.to_csv('a.csv')",
    "with open('a.csv', 'w') as file:\n    file.write('x')",
    "n = Path('a.csv').write_text('x')",
    "np.save('a.csv', rows)",
)


@pytest.mark.parametrize("code", WRITTEN)
def test_what_the_code_itself_has_written_is_no_input(code: str) -> None:
    assert files_read([f"{code}\nrows = pd.read_csv('a.csv')"]) == ()
    assert files_read([code, "rows = pd.read_csv('a.csv')"]) == ()


@pytest.mark.parametrize(
    "code",
    [
        "if new:\n    frame.to_csv('a.csv')",
        "with timer:\n    if new:\n        frame.to_csv('a.csv')",
        "save = lambda: frame.to_csv('a.csv')",
        "new and frame.to_csv('a.csv')",
        "[frame.to_csv('a.csv') for frame in frames]",
        "def save():\n    frame.to_csv('a.csv')",
        "open('a.csv', 'a').write('x')",
        "frame.to_csv('a.csv', mode='a')",
        "frame.to_hdf('a.csv', 'rows')",
        "pd.read_csv('a.csv').dropna().to_csv('a.csv')",
        "frame.to_csv('b.csv')",
    ],
)
def test_what_may_not_have_been_written_is_an_input_still(code: str) -> None:
    assert files_read([f"{code}\nrows = pd.read_csv('a.csv')"]) == ("a.csv",)
