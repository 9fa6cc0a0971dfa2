"""Correctness bits of records, by hand; that what is packed comes back is in tests/measure/test_accuracy.py."""

import subprocess
import sys

import pytest

from vitbench.bits import unpack
from vitbench.errors import UserError


def test_the_first_image_is_the_highest_bit():
    assert unpack("10:/0A=").tolist() == [True] * 8 + [False, True]
    assert unpack("0:").tolist() == []


@pytest.mark.parametrize(
    "text", ["", "10", "10:", "9:/0A=", "17:/0A=", "-1:", "x:/0A=", "10:/0A", "10:/0A=:", "8:/0A="]
)
def test_what_nothing_packs_is_one_line(text):
    with pytest.raises(UserError, match="the record is damaged") as caught:
        unpack(text)
    assert "\n" not in str(caught.value)


def test_reading_them_needs_no_torch():
    code = "import sys; from vitbench.bits import unpack; unpack('10:/0A='); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
