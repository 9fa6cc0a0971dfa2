"""The records behind numbers: each once, with the command that makes them again."""

from vitbench.report.provenance import Numbers, options


def shown(content, place):
    """What a script reads of a number: id, metric, options, [(key, seed, value)], plain id, the same of it."""
    strings = content["strings"]
    case, metric, flags, values, plain, beside = content["numbers"][place]

    def name(parts):
        return "/".join(strings[part] for part in parts)

    def records(values):
        pairs = zip(values[::2], values[1::2], strict=True)
        return [(content["keys"][one], strings[content["seeds"][one]], value) for one, value in pairs]

    return name(case), strings[metric], strings[flags], records(values), name(plain), records(beside)


def where(content, record):
    return [content["strings"][one] for one in content["places"][content["at"][record]]]


def test_a_number_leads_to_the_records_of_each_seed_and_to_those_of_its_baseline(measured):
    numbers = Numbers({"aaaaaaaaaaaa": "../runs/a/record.json"})
    made = [
        measured("vit", "ce + 0.1*me", "cifar10", 64.25, key="aaaaaaaaaaaa"),
        measured("vit", "ce + 0.1*me", "cifar10", 65.0, key="bbbbbbbbbbbb", seed="1"),
    ]
    plain = [measured("vit", "ce", "cifar10", 100 / 3, key="cccccccccccc")]
    place = numbers.add(
        "small/1/vit/me", "accuracy", made, options="--budget short", plain="small/1/vit/ce", beside=plain
    )
    content = numbers.content()
    assert shown(content, place) == (
        "small/1/vit/me",
        "accuracy",
        "--budget short",
        [("aaaaaaaaaaaa", "0", 64.25), ("bbbbbbbbbbbb", "1", 65.0)],
        "small/1/vit/ce",
        [("cccccccccccc", "0", 33.33333)],
    )
    assert content["links"] == {"0": "../runs/a/record.json"}


def test_what_was_not_measured_is_no_number():
    numbers = Numbers({})
    assert numbers.add("a/b", "accuracy", []) is None
    assert numbers.content()["numbers"] == []


def test_what_is_said_twice_stands_once(measured):
    numbers = Numbers({})
    made = [measured("vit", "ce", "cifar10", 60.0)]
    first, again, other = (numbers.add("a/b", metric, made) for metric in ("accuracy", "accuracy", "loss"))
    assert (first, again, other) == (0, 0, 1)
    content = numbers.content()
    assert len(content["keys"]) == len(content["places"]) == 1
    assert len(content["strings"]) == len(set(content["strings"]))


def test_runs_of_the_same_key_on_two_machines_are_two_records(measured):
    numbers = Numbers({})
    numbers.add("a/b", "accuracy", [measured("vit", "ce", "cifar10", 60.0, machine=one) for one in ("h200", "cpu")])
    content = numbers.content()
    assert [where(content, one)[0] for one in (0, 1)] == ["h200", "cpu"]


def test_a_run_is_repeated_where_and_as_it_was_made(measured):
    numbers = Numbers({})
    places = {
        "--gpu": {"device": "NVIDIA H200", "engine": "graph"},
        "--gpu --engine eager --precision bf16": {"device": "NVIDIA H200", "engine": "eager", "precision": "bf16"},
        "": {"device": "AMD EPYC", "engine": "eager"},
        "--gpu --engine compile": {"device": "AMD Instinct MI300X", "engine": "compile"},
    }
    numbers.add(
        "a", "loss", [measured("vit", "ce", "x", 1.0, key=str(n), **one) for n, one in enumerate(places.values())]
    )
    assert [where(numbers.content(), n)[-1] for n in range(4)] == list(places)


def test_options_name_what_a_case_s_id_does_not_choose():
    assert options("paper", "cifar10") == "--budget paper"
    assert options("quick", "digits") == "--budget quick"
    assert options("quick", "folder:/a b") == "--budget quick --dataset 'folder:/a b'"
    assert options("short", "cifar10", "timm/deit's") == """--budget short --model 'timm/deit'"'"'s'"""
