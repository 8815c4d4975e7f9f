"""A text that is computed and stored by marimo's persistent cache, as it is by default."""

# ruff: noqa: ANN001, ANN202 - cells have no annotations
import sys

sys.path.pop(0)  # this file has the name of the package
import marimo

app = marimo.App()


@app.cell
def _():
    import hashlib
    import sys

    import marimo as mo

    return hashlib, mo, sys


@app.cell
def _(hashlib, mo, sys):
    with mo.persistent_cache("work", save_path=sys.argv[1]):
        text = "abc" * 5000
    sys.stdout.write(hashlib.sha256(text.encode()).hexdigest())


if __name__ == "__main__":
    app.run()
