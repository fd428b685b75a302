"""Personal data and secrets are masked; what only looks alike in questions about code stays."""

import ast
import secrets
import string
import sysconfig
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkeep.checksums import luhn, mod97
from ragkeep.pii import find, mask

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\nabcd==\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.s5T1abc-_x"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to Ann.Lee+news@mail.example.co.uk.", "write to <EMAIL>."),
        ("<jürgen@bücher.de>, O'Brien@corp.com", "<<EMAIL>>, <EMAIL>"),
        ("call +49 30 901820 or +1 (415) 555-2671", "call <PHONE> or <PHONE>"),
        ("(415) 555-2671, 415-555-2671, 06 12 34 56 78", "<PHONE>, <PHONE>, <PHONE>"),
        ("my phone: 0171 2345678, Tel. 030/1234567", "my phone: <PHONE>, Tel. <PHONE>"),
        ("card 4111 1111 1111 1111 exp 12/27", "card <CARD> exp 12/27"),
        ("5500-0000-0000-0004, 378282246310005", "<CARD>, <CARD>"),
        ("DE89 3704 0044 0532 0130 00 please", "<IBAN> please"),
        ("GB82WEST12345698765432 fr1420041010050500013m02606", "<IBAN> <IBAN>"),
        ("host 93.184.216.34:8080 is down", "host <IP>:8080 is down"),
        ("2a00:1450:4001:81b::200e and fe80::1ff:fe23:4567:890a", "<IP> and <IP>"),
        ("key AKIAIOSFODNN7EXAMPLE", "key <SECRET>"),
        (f"ghp_{'a1B2' * 9} sk-proj-abcd1234efgh5678ijkl", "<SECRET> <SECRET>"),
        (f"use {JWT} here", "use <SECRET> here"),
        (f"key:\n{PEM}\nwhy?", "key:\n<SECRET>\nwhy?"),
        ("password=hunter2x!, PASSWORD: 'Tr0ub4dor&3'", "password=<SECRET>, PASSWORD: '<SECRET>'"),
        ('{"api_key": "a8f5f167f44f4964e6c998dee827110c"}', '{"api_key": "<SECRET>"}'),
        ("Authorization: Bearer abcdef0123456789abcd", "Authorization: Bearer <SECRET>"),
        ("postgresql://ann:s3cret@db/prod", "postgresql://<SECRET>@db/prod"),
    ],
)
def test_personal_data_and_secrets_are_masked(text: str, masked: str) -> None:
    assert mask(text)[0] == masked
    assert sum(mask(text)[1].values()) == masked.count("<") - text.count("<")


@pytest.mark.parametrize(
    "text",
    [
        "pip install torch==2.13.0.1 and version 1.2.3.4, v10.11.12.13, section 7.1.4.34",
        "ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2",
        "see line 1234567 of json/decoder.py:353, column 12",
        "commit d41d8cd98f00b204e9800998ecf8427e, sha256:9f86d081884c7d659a2feaa0c55ad015",
        "std::vector<int>, ab::cd::ef, crate::io, a[::2], x[1:2, ::-1]",
        "2024-01-02 10:11:12.123456, 1700000000, 0o644, 0x1F600, 3.14159265358979",
        "A@W.T + x@self.weight, @dataclass, a @ b",
        "token = get_token(); password: str; password=os.environ['X']; secret: $SECRET",
        "key=value, keys: sorted(d), key is missing, token=tokenize.NAME, the secret is simple",
        "localhost 127.0.0.1:8000 0.0.0.0 255.255.255.0 ::1 192.0.2.7 2001:db8::1",
        "git clone git@github.com:a/b.git && range(1000000000, 2000000000)",
        "4111 1111 1111 1112 and 1234567890123456",
        "chmod 0644 0755 0600, 00 01 02 03 04 05 06 07",
        "sk-learn-contrib-imbalanced, task-oriented-dialogue-systems",
    ],
)
def test_what_only_looks_alike_stays(text: str) -> None:
    assert mask(text) == (text, {})


def test_the_standard_library_s_docstrings_keep_all_but_their_addresses() -> None:
    found, words = list[tuple[str, str]](), 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-z]*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                words += len(text.split())
                found += find(text)
    wrong = [item for item in found if item[0] != "EMAIL" and item[1] not in ("geheim$parole", "123.45.67.89")]
    assert words > 90_000
    assert wrong == []


HOSTILE = [
    "a", "1", "@", "a@", "a@a.", "eyJaaaaa.", "-----BEGIN PRIVATE KEY-----", "+1 ", "1 ", "password=", "token:'", "://a:",
    "1.1.1.", "::", "f:", "DE00 ", "a.", "4111 ", "0171 ", "(", "sk-", " ", "SG.aaaaaaaaaaaaaaaaa.", "é", "[1-",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_cost_no_more_than_long_ones(piece: str) -> None:
    text = (piece * (300_000 // len(piece) + 1))[:300_000]
    mask(text[:1000])
    began = time.thread_time()
    mask(text)
    assert time.thread_time() - began < 20  # seconds, and no figure: a quadratic pattern takes minutes


DIGITS = st.text(string.digits, min_size=15, max_size=15)


@given(DIGITS)
def test_of_ten_check_digits_one_makes_a_card(digits: str) -> None:
    right = [d for d in string.digits if luhn("4" + digits[:14] + d)]
    assert len(right) == 1
    assert mask(f"pay with 4{digits[:14]}{right[0]} now")[0] == "pay with <CARD> now"


@given(st.text(string.digits, min_size=18, max_size=18))
def test_an_iban_needs_its_check_digits(account: str) -> None:
    check = next(f"{n:02d}" for n in range(2, 99) if mod97(f"DE{n:02d}{account}"))
    assert mask(f"to DE{check}{account}, thanks")[0] == "to <IBAN>, thanks"
    wrong = f"{(int(check) + 1) % 97:02d}"
    assert "<IBAN>" not in mask(f"to DE{wrong}{account}, thanks")[0]


@given(st.emails())
def test_addresses_are_found(address: str) -> None:
    local, _, domain = address.partition("@")
    if local != "git" and local.replace(".", "").isalnum() and domain.replace(".", "").isalpha():
        assert mask(f"write to {address} soon")[0] == "write to <EMAIL> soon"


PARTS = st.sampled_from(
    [
        "ann@corp.com",
        "+49 30 901820",
        "4111 1111 1111 1111",
        "password=",
        "hunter2x!",
        "DE89370400440532013000",
        "93.184.216.34",
        "token: ",
        "-",
        " ",
        "/",
        "=",
        ":",
        "1",
        "a",
        "<",
        ">",
        "é",
        "\n",
        JWT,
        "call ",
        "0171 2345678",
        "://",
        "@",
    ]
)


@given(st.lists(PARTS | st.text(max_size=5), max_size=12).map(" ".join))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once, counts = mask(text)
    assert mask(once)[0] == once
    assert (once == text) == (not counts)


def test_keys_made_at_random_are_found() -> None:
    for _ in range(200):
        value = secrets.token_urlsafe(24)
        assert value not in mask(f"api_key = '{value}'")[0]
