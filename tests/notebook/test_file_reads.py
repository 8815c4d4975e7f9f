"""Files that are read by name are known, files that are written are not taken for them."""

from __future__ import annotations

import pytest

from jupyter_pipelines.notebook.code.file_reads import FileReads, files_read
from jupyter_pipelines.pipeline.path_templates import JOINT, MAX_LENGTH

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
    "pd.read_csv(filepath_or_buffer='a.csv')",
    "zipfile.ZipFile('a.csv')",
    "openpyxl.load_workbook('a.csv')",
    "settings = ConfigParser()\nsettings.read('a.csv')",
    "ElementTree.parse('a.csv')",
    "xr.open_dataset('a.csv')",
    "with sqlite3.connect('a.csv') as base:\n    base.execute('select 1')",
    "duckdb.connect(database='a.csv').sql('select 1')",
    "DATA: str = 'a.csv'\nx = pd.read_csv(DATA)",
    "x = pd.read_csv(DATA := 'a.csv')",
    "pd.read_csv(str(Path('a.csv').resolve()))",
    "pd.read_csv('a' + '.csv')",
    "name = 'a'\npd.read_csv(f'{name}.csv')",
    "for name in ['a']:\n    pd.read_csv(f'{name}.csv')",
    "[pd.read_csv(f'{name}.csv') for name in ('a',)]",
    "for _, name in enumerate(['a']):\n    pd.read_csv(name + '.csv')",
    "def load(path):\n    return pd.read_csv(path)\nload('a.csv')",
    "def load(*, path):\n    return pd.read_csv(path)\nload(path='a.csv')",
    "def load(path='a.csv'):\n    return pd.read_csv(path)\nload()",
    "def path_of(name):\n    return f'{name}.csv'\npd.read_csv(path_of('a'))",
    (
        "class Source:\n    def __init__(self, path):\n        self.path = path\n"
        "    def load(self):\n        return pd.read_csv(self.path)\nSource('a.csv').load()"
    ),
    (
        "def first(path):\n    return second(path)\ndef second(path):\n    return third(path)\n"
        "def third(file):\n    return open(file)\nfirst('a.csv')"
    ),
    "pd.read_csv('a.csv' if full else None)",
)


@pytest.mark.parametrize("code", READ)
def test_what_is_read_is_known(code: str) -> None:
    assert files_read([code]).paths == ("a.csv",)


JOINED = (
    "pd.read_csv(os.path.join('data', 'a.csv'))",
    "open('data/' + 'a.csv')",
    "pd.read_csv(Path('data') / 'a.csv')",
    "(Path('data') / 'a.csv').read_text()",
    "Path('data', 'a.csv').open()",
    "Path('data').joinpath('a.csv').read_bytes()",
    "FILES = {'train': 'data/a.csv'}\npd.read_csv(FILES['train'])",
    "HOME = Path('data')\npd.read_csv(HOME / 'a.csv')",
    "home = 'data'\npath = os.path.join(home, 'a.csv')\nwith open(path) as file:\n    pass",
    "path = 'data'\npath = path + '/a.csv'\npd.read_csv(path)",
)


@pytest.mark.parametrize("code", JOINED)
def test_what_is_joined_is_known(code: str) -> None:
    assert "data/a.csv" in files_read([code]).paths


LISTED = {
    "glob.glob('data/*.csv')": "data/*.csv",
    "for path in sorted(Path('data').glob('*.csv')):\n    rows += [pd.read_csv(path)]": "data/*.csv",
    "list(Path('data').rglob('*.csv'))": "data/**/*.csv",
    "os.listdir('data')": "data",
    "[os.path.join('data', name) for name in os.listdir('data')]": "data",
    "for path in Path('data').iterdir():\n    print(path)": "data",
    "for folder, _, names in os.walk('data'):\n    print(names)": "data",
    "FOLDER = 'data'\nos.scandir(path=FOLDER)": "data",
}


@pytest.mark.parametrize("code", LISTED)
def test_what_is_listed_is_known(code: str) -> None:
    assert files_read([code]).paths == (LISTED[code],)


@pytest.mark.parametrize(
    "code",
    [
        "os.makedirs('out', exist_ok=True)\nos.listdir('out')",
        "Path('out').mkdir()\nlist(Path('out').glob('*.csv'))",
        "for name in names:\n    frame.to_csv(f'out/{name}.csv')\nos.listdir('out')",
        "figure.savefig(os.path.join('out', name))\nglob.glob('out/*.png')",
    ],
)
def test_a_folder_that_the_code_fills_is_its_own(code: str) -> None:
    assert files_read([code]) == FileReads()


DEPENDING = {
    "pd.read_csv(path)": "{path}",
    "def load(file):\n    return pd.read_csv(file)\nload(path)": "{path}",
    "path = Path(path)\npath.read_text()": "{path}",
    "for one in path:\n    pd.read_csv(one)": "{path}",
    "open(f'{{data}}/{path}.csv')": "{{data}}/{path}.csv",
    "os.listdir(path)": "{path}",
    "pd.read_csv(Path(path) / 'a.csv')": f"{{path}}{JOINT}a.csv",
}


@pytest.mark.parametrize("code", DEPENDING)
def test_of_a_parameter_the_value_counts(code: str) -> None:
    assert files_read([code], ["path"]) == FileReads(templates=(DEPENDING[code],))
    assert files_read([code]).templates == ()


def test_names_that_are_made_of_each_other_come_to_an_end() -> None:
    code = "a = 'a.csv'\na = b + 'x'\nb = a\nfor _ in range(9):\n    pd.read_csv(a)"
    assert files_read([code]).paths[:2] == ("a.csv", "a.csvx")
    chain = "\n".join(["n0 = 'a.csv'", *(f"n{number + 1} = n{number}" for number in range(3000)), "open(n3000)"])
    assert files_read([chain]).paths == ("a.csv",)
    many = "\n".join(f"x = [{', '.join(f'{str(number)!r}' for number in range(900))}]" for _ in range(3))
    assert len(files_read([f"{many}\nopen(x + x + x + x)"]).paths) <= MAX_LENGTH


def test_a_name_may_stand_in_another_piece() -> None:
    assert files_read(["DATA = 'a.csv'", "def load():\n    return open(DATA)"]).paths == ("a.csv",)


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
        "with sqlite3.connect('a.csv') as base:\n    base.execute('INSERT INTO people VALUES (1)')",
        "base = sqlite3.connect('a.csv')\nrows.to_sql('people', base)",
        "smtp.connect('a.csv')",
    ],
)
def test_what_is_written_printed_or_far_away_is_not(code: str) -> None:
    assert files_read([code]).paths == ()


WRITTEN = (
    "frame.to_csv('a.csv')",
    "with open('a.csv', 'w') as file:\n    file.write('x')",
    "n = Path('a.csv').write_text('x')",
    "np.save('a.csv', rows)",
    "joblib.dump(rows, 'a.csv')",
    "joblib.dump(rows, filename='a.csv')",
    "torch.save(model.state_dict(), 'a.csv')",
    "frame.write_parquet('a.csv')",
    "frame.write_csv(file='a.csv')",
    "lazy.sink_parquet('a.csv')",
    "csv.write_csv(table, 'a.csv')",
    "pq.write_table(table, 'a.csv')",
)


@pytest.mark.parametrize("code", WRITTEN)
def test_what_the_code_itself_has_written_is_no_input(code: str) -> None:
    assert files_read([f"{code}\nrows = pd.read_csv('a.csv')"]).paths == ()
    assert files_read([code, "rows = pd.read_csv('a.csv')"]).paths == ()


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
        "lazy.sink_parquet('a.csv', lazy=True)",
        "joblib.dump('a.csv', 'b.csv')",
        "frame.to_csv('a.csv', mode='a')",
        "frame.to_hdf('a.csv', 'rows')",
        "pd.read_csv('a.csv').dropna().to_csv('a.csv')",
        "frame.to_csv('b.csv')",
    ],
)
def test_what_may_not_have_been_written_is_an_input_still(code: str) -> None:
    assert files_read([f"{code}\nrows = pd.read_csv('a.csv')"]).paths == ("a.csv",)
