"""The notation of a loss: what it says, and what it refuses in one line without ever evaluating it."""

import math

import pytest
from _pytest.mark.expression import Expression

from vitbench.errors import UserError
from vitbench.objective import EXAMPLE, LONGEST, Call, Objective, WeightedTerm, parse, parse_call


@pytest.mark.parametrize(
    "text",
    [
        "ce",
        "ce + drloc",
        "ce + 0.1*drloc + 0.1*me(ratio=0.85)",
        "ce + -0.5*me",
        "2*ce",
        "ce + 1e-07*me",
        "ce + 0.123456789*me",
        "ce + 0.1*mypkg.losses.mine(a=1, b=-2.5, c=True, d='batch')",
    ],
)
def test_what_was_read_is_written_as_it_was_written(text):
    assert str(parse(text)) == text
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "0.1*drloc + ce + 0.1*me",
        "0.1*me+0.1*drloc+ce",
        "  ce + 0.1*drloc + (0.1*me)  ",
        "1*ce + 0.10*drloc + .1*me",
        "ce + 1e-1*drloc + --0.1*me",
    ],
)
def test_the_order_and_the_spelling_of_a_sum_do_not_matter(text):
    assert parse(text) == parse("ce + 0.1*drloc + 0.1*me")


def test_the_order_of_arguments_does_not_matter():
    assert parse("me(heads=4, depth=1)") == parse("me(depth=1, heads=4)")


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("me", 1.0),
        ("3*me", 3.0),
        ("0.25*me", 0.25),
        ("-2*me", -2.0),
        ("0*me", 0.0),
        ("1e-3*me", 0.001),
        ("0x10*me", 16),
    ],
)
def test_a_weight_is_the_number_before_the_star(text, weight):
    (summand,) = parse(text)
    assert summand == WeightedTerm(weight=weight, term=Call(name="me"))
    assert type(summand.weight) is float


@pytest.mark.parametrize(("written", "value"), [("1", 1), ("-1", -1), ("0.5", 0.5), ("False", False), ("'a b'", "a b")])
def test_an_argument_is_a_literal_of_its_own_type(written, value):
    (summand,) = parse(f"me(x={written})")
    assert summand.term.arguments == {"x": value}
    assert type(summand.term.arguments["x"]) is type(value)


def test_a_dotted_name_is_one_name():
    assert parse("ce + 0.1*mypkg.losses.mine").names == ("ce", "mypkg.losses.mine")


def test_weights_that_differ_in_the_last_digit_are_told_apart():
    one, other = parse("ce + 0.12345678*me"), parse("ce + 0.12345679*me")
    assert str(one) != str(other)
    assert one.slug != other.slug


def test_a_weight_is_written_as_exactly_as_it_is():
    weight = math.nextafter(0.1, 1)
    assert parse(f"{weight!r}*me").summands[0].weight == weight
    assert parse(str(parse(f"{weight!r}*me"))).summands[0].weight == weight


REFUSED = {
    "nothing": "",
    "spaces": "   ",
    "a number": "3",
    "a string": "'ce'",
    "a call to the shell": "__import__('os').system('x')",
    "a call with named arguments": "__import__(name='os').system(command='x')",
    "a lambda": "lambda: ce",
    "a subscript": "ce[0]",
    "a comprehension": "[ce for ce in x]",
    "a walrus": "(ce := me)",
    "a condition": "ce if me else drloc",
    "an f-string": "f'{ce}'",
    "a statement": "import os",
    "two lines": "ce\n+ me",
    "a null byte": "ce\0",
    "half a character": "ce + \udc80",
    "a product of terms": "ce*me",
    "a product of weights": "2*0.1*me",
    "a weight behind": "me*0.1",
    "a weight without a star": "0.1me",
    "a quotient": "me/10",
    "a difference": "ce - 0.1*me",
    "a minus before a term": "-me",
    "a weighted sum": "0.1*(ce + me)",
    "a truth value as weight": "True*me",
    "a string as weight": "'0.1'*me",
    "a complex weight": "1j*me",
    "nan": "nan*me",
    "nan by name": "float('nan')*me",
    "infinity": "inf*me",
    "a float that overflows": "1e400*me",
    "an integer that overflows": "1" + "0" * 400 + "*me",
    "an integer in hexadecimal that overflows": "0x1" + "0" * 400 + "*me",
    "an integer of 900 digits as argument": "me(depth=" + "9" * 900 + ")",
    "an infinite argument": "me(ratio=1e400)",
    "a list as argument": "me(ratio=[0.75])",
    "None as argument": "me(ratio=None)",
    "a name as argument": "me(ratio=half)",
    "bytes as argument": "me(ratio=b'x')",
    "minus a string": "me(ratio=-'x')",
    "minus a truth value": "me(ratio=-True)",
    "an argument without a name": "me(0.75)",
    "starred arguments": "me(*x)",
    "double-starred arguments": "me(**x)",
    "an argument given twice": "me(ratio=0.5, ratio=0.6)",
    "a call of a call": "me(ratio=0.5)(x=1)",
    "an attribute of a call": "me().x",
    "a term named twice": "ce + 0.1*me + 0.2*me",
    "a term named twice with other arguments": "ce + me(ratio=0.5) + me(ratio=0.6)",
    "10,000 terms": "+".join(f"t{number}" for number in range(10_000)),
    "450 parentheses": "(" * 450 + "ce" + ")" * 450,
    "100,000 parentheses": "(" * 100_000 + "ce" + ")" * 100_000,
    "901 minus signs before a name": "-" * 901 + "me",
    "a chain of 400 attributes and a call": "a" + ".a" * 400 + "(1)",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_sum_of_weighted_terms_is_one_line_with_place_and_example(text):
    with pytest.raises(UserError) as refused:
        parse(text, where="some.toml:7")
    message = str(refused.value)
    assert message.startswith("some.toml:7: ")
    assert EXAMPLE in message
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ce + nan*me", "a weight is a finite number before the '*', not 'nan'"),
        ("ce + True*me", "a weight is a finite number before the '*', not 'True'"),
        ("ce + me*0.1", "a weight is a finite number before the '*', not 'me'"),
        ("me(0.75)", "arguments are named, as in 'me(ratio=0.85)'"),
        ("me(ratio=0.5, ratio=0.6)", "it sets 'ratio' twice"),
        ("me(ratio=1e400)", "not finite"),
        ("ce + me + me", "names 'me' twice; add the weights up"),
        ("ce + ", "it is not a sum of terms"),
        ("t + " * 1000 + "t", f"more than {LONGEST}"),
    ],
)
def test_the_reason_is_named(text, reason):
    with pytest.raises(UserError) as refused:
        parse(text)
    assert reason in str(refused.value)


def test_reading_runs_no_code(tmp_path):
    with pytest.raises(UserError):
        parse(f"__import__('pathlib').Path({str(tmp_path / 'trace')!r}).touch()")
    assert not list(tmp_path.iterdir())


def test_letters_of_every_script_are_letters():
    assert parse("ce + 0.1*verlust_ä").names == ("ce", "verlust_ä")


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("ce", "ce"),
        ("ce + 0.1*drloc", "ce+0.1drloc"),
        ("ce + 0.1*me(ratio=0.85)", "ce+0.1me_ratio0.85"),
        ("ce + 0.5*drloc(pairs=32)", "ce+0.5drloc_pairs32"),
        ("ce + -0.5*me", "ce+-0.5me"),
        ("ce + 1e-7*me", "ce+1e-07me"),
        ("ce + mypkg.losses.mine(deep=True)", "ce+mypkg.losses.mine_deeptrue"),
        ("ce + me(x='a b*(c)=[d]')", "ce+me_xa-b--c---d-"),
    ],
)
def test_the_short_form_is_one_word_that_pytest_selects_by(text, slug):
    assert parse(text).slug == slug
    assert Expression.compile(slug).evaluate(lambda name, **_: name == slug)


def test_without_weights_every_weight_is_one():
    assert str(parse("2*ce + 0.1*me(depth=1)").unweighted()) == "ce + me(depth=1)"


DEFAULTS = {"me": {"ratio": 0.75, "depth": 4}, "drloc": {"pairs": 32}}


@pytest.mark.parametrize(
    ("text", "filled", "bare"),
    [
        ("ce", "ce", "ce"),
        ("ce + 0.1*me", "ce + 0.1*me(depth=4, ratio=0.75)", "ce + 0.1*me"),
        ("ce + 0.1*me(ratio=0.75)", "ce + 0.1*me(depth=4, ratio=0.75)", "ce + 0.1*me"),
        ("ce + 0.1*me(ratio=0.85)", "ce + 0.1*me(depth=4, ratio=0.85)", "ce + 0.1*me(ratio=0.85)"),
        ("ce + me(a=1)", "ce + me(a=1, depth=4, ratio=0.75)", "ce + me(a=1)"),
        ("drloc(pairs=32) + me", "drloc(pairs=32) + me(depth=4, ratio=0.75)", "drloc + me"),
    ],
)
def test_defaults_are_filled_in_and_left_out_again(text, filled, bare):
    assert str(parse(text).with_arguments(DEFAULTS)) == filled
    assert str(parse(text).without_arguments(DEFAULTS)) == bare
    assert str(parse(filled).without_arguments(DEFAULTS)) == bare


def test_the_order_of_defaults_does_not_matter():
    turned = {"me": {"depth": 4, "ratio": 0.75}}
    assert str(parse("me").with_arguments(turned)) == str(parse("me").with_arguments(DEFAULTS))


def test_an_objective_never_changes():
    with pytest.raises(AttributeError):
        parse("ce").summands = ()


def test_an_objective_made_by_hand_is_the_one_that_is_read():
    ce = WeightedTerm(weight=1.0, term=Call(name="ce"))
    me = WeightedTerm(weight=0.1, term=Call(name="me", arguments={"ratio": 0.85}))
    assert Objective(summands=(ce, me)) == parse("ce + 0.1*me(ratio=0.85)")


def test_an_operation_is_a_name_with_arguments():
    assert parse_call("crop(padding=4)") == Call(name="crop", arguments={"padding": 4})
    assert str(parse_call("flip")) == "flip"


@pytest.mark.parametrize("text", ["", "2*crop", "crop + flip", "crop(4)", "3", "crop(padding=[4])"])
def test_what_is_no_operation_is_one_line_with_place_and_example(text):
    with pytest.raises(UserError, match=r"^f:3: cannot read .*write it like 'crop\(padding=4\)'$"):
        parse_call(text, where="f:3")
