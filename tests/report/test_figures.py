"""What is in the figures: the lines' numbers, the pictures' pixels, and the same bytes each time."""

import io
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context
from PIL import Image

from tests.a_pretraining import images
from vitbench.curves import Curve
from vitbench.pictures import Pictures
from vitbench.report import figures
from vitbench.report.figures import Line

ONE = Curve(epochs=(1, 2, 3), losses=(2.0, 1.0, 0.25), accuracies=(50.0, 70.0, 90.0))
TWO = Curve(epochs=(1, 2, 3), losses=(4.0, 2.0, 0.75), accuracies=(40.0, 80.0, 96.0))


def drawn(axes):
    """Per label of a panel, the x and y of its line."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


def dots(axes):
    """(x, y) and colour of each dot of a panel."""
    marked = [line for line in axes.get_lines() if line.get_marker() == "o"]
    return [(*line.get_xdata(), *line.get_ydata(), line.get_color()) for line in marked]


def test_a_line_of_one_seed_is_its_curve():
    accuracy, loss = figures.trainings({"A, digits": [Line(label="pre-trained", curves=[ONE])]}).axes
    label = "pre-trained: best 90.00 %, 95 % of it at epoch 3"
    assert drawn(accuracy) == {label: ([1, 2, 3], [50.0, 70.0, 90.0])}
    assert drawn(loss) == {"pre-trained": ([1, 2, 3], [2.0, 1.0, 0.25])}
    assert not accuracy.collections


def test_a_line_of_several_seeds_is_their_mean_over_a_band_from_least_to_greatest():
    accuracy, loss = figures.trainings({"A, digits": [Line(label="pre-trained", curves=[ONE, TWO])]}).axes
    label = "pre-trained (mean of 2 seeds)"
    assert drawn(accuracy) == {
        f"{label}: best 93.00 %, 95 % of it at epoch 3": ([1, 2, 3], [45.0, 75.0, 93.0]),
    }
    assert drawn(loss) == {label: ([1, 2, 3], [3.0, 1.5, 0.5])}
    (band,) = accuracy.collections
    corners = {tuple(one) for one in band.get_paths()[0].vertices}
    assert {(1, 40.0), (1, 50.0), (2, 70.0), (2, 80.0), (3, 90.0), (3, 96.0)} <= corners


def test_a_dot_is_where_a_line_first_has_95_percent_of_its_best_which_a_thin_curve_knows_by_its_epochs():
    thin = Curve(epochs=(1, 10, 20, 30), losses=(4.0, 3.0, 2.0, 1.0), accuracies=(20.0, 76.0, 80.0, 79.0))
    lines = [Line(label="A", curves=[ONE]), Line(label="B", curves=[thin])]
    accuracy, loss = figures.trainings({"A, digits": lines}).axes
    assert dots(accuracy) == [(3, 90.0, figures.COLOURS[0]), (10, 76.0, figures.COLOURS[1])]
    assert dots(loss) == []


def test_of_k_nn_the_epochs_are_drawn_at_which_it_was_measured_by_all_seeds():
    losses, knn = (4.0, 3.0, 2.0, 1.0), (30.0, None, 60.0, 80.0)
    one = Curve(epochs=(1, 2, 3, 4), losses=losses, knn=knn)
    two = Curve(epochs=(1, 2, 3, 4), losses=losses, knn=(40.0, 50.0, None, 90.0))
    (axes,) = figures.neighbours({"A, digits": [Line(label="simclr", curves=[one, two])]}).axes
    label = "simclr (mean of 2 seeds): 85.00 % at the end"
    assert drawn(axes) == {label: ([1, 4], [35.0, 85.0])}
    assert (axes.get_ylabel(), axes.get_title("left")) == ("k-NN accuracy (%)", "A, digits")


@pytest.mark.parametrize(
    ("levels", "labels"),
    [
        ((45.5, 45.5), {"untrained: 45.50 %": 45.5}),
        ((45.5, None), {"untrained: 45.50 %": 45.5}),
        ((45.5, 50.0), {"simclr, untrained: 45.50 %": 45.5, "jigsaw, untrained: 50.00 %": 50.0}),
        ((0.0, 0.0), {"untrained: 0.00 %": 0.0}),
        ((None, None), {}),
    ],
)
def test_the_untrained_network_is_a_dotted_line_once_where_all_began_alike(levels, labels):
    curve = Curve(epochs=(1, 2), losses=(2.0, 1.0), knn=(60.0, 80.0))
    named = zip(("simclr", "jigsaw"), levels, strict=True)
    lines = [Line(label=name, curves=[curve], untrained=level) for name, level in named]
    (axes,) = figures.neighbours({"A, digits": lines}).axes
    dotted = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert {line.get_label(): line.get_ydata()[0] for line in dotted} == labels


def test_seeds_meet_at_the_epochs_that_all_of_them_know():
    longer = Curve(epochs=(2, 3, 4), losses=(3.0, 2.0, 1.0))
    assert Line(label="", curves=[ONE, longer]).mean("losses") == ([2, 3], [2.0, 1.125], [1.0, 0.25], [3.0, 2.0])
    assert Line(label="", curves=[ONE, longer]).end("losses") == 1.125


def test_every_training_has_its_row_of_titled_panels_with_names_units_and_legend():
    lines = [Line(label="pre-trained", curves=[ONE], printed=96.41), Line(label="from scratch", curves=[TWO])]
    figure = figures.trainings({"A, cifar10": lines, "B, cifar100": lines})
    panels = figure.axes
    assert len(panels) == 4
    assert [panels[0].get_title("left"), panels[2].get_title("left")] == ["A, cifar10", "B, cifar100"]
    for accuracy, loss in (panels[:2], panels[2:]):
        assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "test accuracy (%)")
        assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "training loss")
        assert drawn(accuracy)["pre-trained, printed: 96.41 %"][1] == [96.41, 96.41]
        assert sorted(drawn(loss)) == ["from scratch", "pre-trained"]
    for row in figure.subfigs:
        (legend,) = row.legends
        assert [text.get_text() for text in legend.get_texts()] == [
            "pre-trained: best 90.00 %, 95 % of it at epoch 3",
            "pre-trained, printed: 96.41 %",
            "from scratch: best 96.00 %, 95 % of it at epoch 3",
        ]


def test_a_legend_hides_no_line():
    name = "2.5*ce + distill(student_temperature=0.1, teacher_temperature=0.04, centre_momentum=0.9) + 0.5*rotation"
    lines = [Line(label=f"{name}, number {n}", curves=[ONE, TWO], printed=50.0) for n in range(5)]
    figure = figures.trainings({"A": lines, "B": lines[:1]})
    figures.encoded(figure, "svg")  # which lays it out
    for row in figure.subfigs:
        (legend,) = row.legends
        box = legend.get_window_extent()
        assert all(axes.get_window_extent().y0 > box.y1 for axes in row.axes)
        assert all(axes.get_window_extent().height > 100 for axes in row.axes)
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_lines_differ_in_colour_and_in_stroke():
    (axes,) = figures.losses([Line(label=name, curves=[ONE]) for name in "ABCD"]).axes
    looks = [(line.get_color(), str(line.get_linestyle()), str(line._dash_pattern)) for line in axes.get_lines()]
    assert len({colour for colour, *_ in looks}) == len({strokes for *_, strokes in looks}) == 4


@pytest.mark.parametrize(
    ("values", "scale"), [((0.63, 0.1, 0.0207), "log"), ((2.0, 1.5, 1.0), "linear"), ((1.0, 0.1, 0.0), "linear")]
)
def test_losses_of_several_magnitudes_stand_on_a_logarithmic_scale(values, scale):
    (axes,) = figures.losses([Line(label="A", curves=[Curve(epochs=(1, 2, 3), losses=values)])]).axes
    assert axes.get_yscale() == scale
    assert list(axes.get_lines()[0].get_ydata()) == list(values)


def test_numbers_on_a_logarithmic_scale_are_plain():
    line = Line(label="A", curves=[Curve(epochs=(1, 2, 3), losses=(0.63, 0.1, 0.0207))])
    text = figures.encoded(figures.losses([line]), "svg").decode()
    assert ">0.05</text>" in text
    assert "10^" not in text


# Pictures


def read(figure):
    """(H, W, 3) as a reader of the file sees it."""
    with Image.open(io.BytesIO(figures.encoded(figure, "png"))) as image:
        return np.asarray(image.convert("RGB"))


def enlarged(image, scale):
    return np.kron(image.transpose(1, 2, 0), np.ones((scale, scale, 1), dtype=np.uint8))


def found(shown, image, scale):
    """Upper left corner (row, column) of an enlarged image, which is there exactly once."""
    wanted = enlarged(image, scale)
    side = len(wanted)
    places = np.argwhere((shown == wanted[0, 0]).all(axis=2))
    hits = [(int(y), int(x)) for y, x in places if np.array_equal(shown[y : y + side, x : x + side], wanted)]
    (corner,) = hits
    return corner


@pytest.mark.parametrize(("size", "scale"), [(32, 3), (36, 2), (8, 12), (64, 1), (100, 1)])
def test_a_triplet_has_its_three_images_beside_each_other_pixel_by_pixel(size, scale):
    content = images(number=2, size=size)
    shown = read(figures.triplets(Pictures(**content)))
    side = size * scale
    for number in range(2):
        corners = [found(shown, content[kind][number], scale) for kind in ("original", "masked", "restored")]
        (top, left) = corners[0]
        assert corners == [(top, left), (top, left + side + 4), (top, left + 2 * (side + 4))]
    assert found(shown, content["original"][1], scale)[0] == found(shown, content["original"][0], scale)[0]


def test_eight_triplets_are_four_rows_of_two():
    content = images(number=8, size=8)
    shown = read(figures.triplets(Pictures(**content)))
    corners = [found(shown, content["restored"][number], 12) for number in range(8)]
    assert len({y for y, _ in corners}) == 4
    assert len({x for _, x in corners}) == 2
    assert corners == sorted(corners)


def test_what_is_no_image_is_white_or_text():
    content = {kind: np.zeros_like(one) for kind, one in images(number=1, size=8).items()}
    shown = read(figures.triplets(Pictures(**content)))
    black = (shown[-50] == 0).all(axis=1)
    assert black.sum() == 3 * 96
    assert (shown[-50][~black] == 255).all()


def test_an_evolution_has_a_row_for_an_epoch_below_the_originals():
    content = images(number=3, size=8)
    restored = {epoch: images(number=3, size=8, seed=epoch)["restored"] for epoch in (20, 1020, 2020)}
    figure = figures.evolution({epoch: Pictures(**content | {"restored": one}) for epoch, one in restored.items()})
    shown = read(figure)
    assert [text.get_text() for text in figure.texts] == ["original", "masked", "epoch 20", "epoch 1020", "epoch 2020"]
    columns = [found(shown, content["original"][number], 12) for number in range(3)]
    for row, rows in enumerate([content["original"], content["masked"], *restored.values()]):
        for (top, left), image in zip(columns, rows, strict=True):
            assert found(shown, image, 12) == (top + row * 100, left)


def test_what_was_masked_otherwise_at_an_epoch_stands_above_it():
    by_epoch = {
        epoch: Pictures(**images(size=8) | {"masked": images(size=8, seed=epoch)["masked"]}) for epoch in (1, 2)
    }
    labels = [text.get_text() for text in figures.evolution(by_epoch).texts]
    assert labels == ["original", "masked", "epoch 1", "masked", "epoch 2"]


def test_of_many_epochs_the_first_the_last_and_some_between_are_shown():
    by_epoch = {epoch: Pictures(**images(size=8)) for epoch in range(1, 11)}
    labels = [text.get_text() for text in figures.evolution(by_epoch).texts]
    assert labels == ["original", "masked", "epoch 1", "epoch 3", "epoch 5", "epoch 8", "epoch 10"]


# Files

KNN = Curve(epochs=(1, 2), losses=(2.0, 1.0), knn=(60.0, 80.0))
TRAININGS = {"A, digits": [Line(label="pre-trained", curves=[ONE, TWO]), Line(label="from scratch", curves=[ONE])]}
EACH = [
    (lambda: figures.losses([Line(label="A", curves=[ONE])]), "svg"),
    (lambda: figures.trainings(TRAININGS), "svg"),
    (lambda: figures.neighbours({"A": [Line(label="mae", curves=[KNN], untrained=20.0)]}), "svg"),
    (lambda: figures.triplets(Pictures(**images())), "png"),
    (lambda: figures.evolution({1: Pictures(**images()), 2: Pictures(**images())}), "png"),
]


@pytest.mark.parametrize(("make", "suffix"), EACH)
def test_drawing_twice_gives_the_same_bytes_whatever_the_users_style(make, suffix, monkeypatch):
    first = figures.encoded(make(), suffix)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    with rc_context({"font.size": 30, "svg.hashsalt": None, "figure.dpi": 33, "savefig.transparent": True}):
        assert figures.encoded(make(), suffix) == first


def test_another_process_draws_the_same_bytes(tmp_path):
    script = (
        "import sys; from vitbench.curves import Curve; from vitbench.report import figures;"
        "one = Curve(epochs=(1, 2, 3), losses=(2.0, 1.0, 0.25), accuracies=(50.0, 70.0, 90.0));"
        "line = figures.Line(label='A', curves=[one]);"
        "sys.stdout.buffer.write(figures.encoded(figures.losses([line]), 'svg'));"
        "assert not {'torch', 'matplotlib.pyplot', 'tkinter'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == figures.encoded(figures.losses([Line(label="A", curves=[ONE])]), "svg")


def test_a_drawing_is_xml_whose_texts_can_be_read(tmp_path):
    name = "$a_b$ <b> & \x0b\u2028\x07 _x"
    content = figures.encoded(figures.trainings({name: [Line(label=name, curves=[ONE])]}), "svg")
    texts = [
        "".join(one.itertext()) for one in ElementTree.fromstring(content).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"epoch", "test accuracy (%)", "training loss", "$a_b$ <b> &     _x"} <= set(texts)
    assert all(line == line.rstrip() for line in content.decode().splitlines())
