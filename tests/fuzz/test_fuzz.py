"""The targets of the fuzzer, with inputs that Hypothesis makes: odd in the ways that people and programs are."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

WORDS = (
    "%%step %%params %%setup #| step: -i -o --retries a=b.c x:int \\ ' \" = : {x} $x ${{ é 😀 lambda !ls %time ? ; ## @"
).split()
ODD = st.sampled_from(
    [*WORDS, "\n", "\x00", "\ufeff", "\u202e", "\x1e", "\u2028", "\t", "\r\n", "\x0c", "[" * 50, "import os", "def f(",
     "await x", "match x:\n case", "f'{a!r:{b}}'"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(ODD, st.text(max_size=8)), max_size=14).map(" ".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
NOTEBOOKS = st.fixed_dictionaries(
    {},
    optional={
        "nbformat": st.one_of(st.integers(0, 6), JSON),
        "nbformat_minor": JSON,
        "metadata": JSON,
        "cells": st.one_of(
            JSON,
            st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "cell_type": st.sampled_from(["code", "markdown", "raw", "heading"]),
                        "source": st.one_of(TEXTS, st.lists(TEXTS, max_size=3), JSON),
                        "metadata": JSON,
                        "id": JSON,
                        "outputs": JSON,
                    },
                ),
                max_size=4,
            ),
        ),
    },
)
BYTES = st.one_of(
    st.binary(max_size=200),
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    JSON.map(lambda document: json.dumps(document).encode()),
)
FORMS = st.one_of(BYTES, NOTEBOOKS.map(lambda notebook: json.dumps(notebook).encode()))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=FORMS)
def test_only_errors_with_a_code_come_out(name: str, data: bytes) -> None:
    TARGETS[name](data)
