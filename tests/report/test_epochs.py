"""What is in the plots of trainings: the numbers of their lines, their bands, dots and legends."""

import pytest

from vitbench.curves import Curve
from vitbench.report import epochs
from vitbench.report.epochs import Line
from vitbench.report.plot import COLOURS

ONE = Curve(epochs=(1, 2, 3), losses=(2.0, 1.0, 0.25), accuracies=(50.0, 70.0, 90.0))
TWO = Curve(epochs=(1, 2, 3), losses=(4.0, 2.0, 0.75), accuracies=(40.0, 80.0, 96.0))


def drawn(panel):
    """Per label of a panel, the x and y of its line."""
    lines = {one.label: (list(one.x), list(one.y)) for one in panel.series if one.label}
    return lines | {label: ([], [y, y]) for y, label, _ in panel.levels}


def dots(panel):
    """(x, y) and colour of each dot of a panel."""
    return [(*one.x, *one.y, one.colour) for one in panel.series if one.marker == "circle" and not one.label]


def legends(plot):
    return [[one.label for one in row] for row in plot.legends()]


def test_a_line_of_one_seed_is_its_curve():
    accuracy, loss = epochs.trainings({"A, digits": [Line(label="pre-trained", curves=[ONE])]}).axes
    label = "pre-trained: best 90.00 %, 95 % of it at epoch 3"
    assert drawn(accuracy) == {label: ([1, 2, 3], [50.0, 70.0, 90.0])}
    assert drawn(loss) == {"pre-trained": ([1, 2, 3], [2.0, 1.0, 0.25])}
    assert not any(one.band for one in accuracy.series)


def test_a_line_of_several_seeds_is_their_mean_over_a_band_from_least_to_greatest():
    accuracy, loss = epochs.trainings({"A, digits": [Line(label="pre-trained", curves=[ONE, TWO])]}).axes
    label = "pre-trained (mean of 2 seeds)"
    assert drawn(accuracy) == {
        f"{label}: best 93.00 %, 95 % of it at epoch 3": ([1, 2, 3], [45.0, 75.0, 93.0]),
    }
    assert drawn(loss) == {label: ([1, 2, 3], [3.0, 1.5, 0.5])}
    (band,) = [one.band for one in accuracy.series if one.band]
    assert list(band) == [(40.0, 50.0), (70.0, 80.0), (90.0, 96.0)]


def test_a_dot_is_where_a_line_first_has_95_percent_of_its_best_which_a_thin_curve_knows_by_its_epochs():
    thin = Curve(epochs=(1, 10, 20, 30), losses=(4.0, 3.0, 2.0, 1.0), accuracies=(20.0, 76.0, 80.0, 79.0))
    lines = [Line(label="A", curves=[ONE]), Line(label="B", curves=[thin])]
    accuracy, loss = epochs.trainings({"A, digits": lines}).axes
    assert dots(accuracy) == [(3, 90.0, COLOURS[0]), (10, 76.0, COLOURS[1])]
    assert dots(loss) == []


def test_of_k_nn_the_epochs_are_drawn_at_which_it_was_measured_by_all_seeds():
    losses, knn = (4.0, 3.0, 2.0, 1.0), (30.0, None, 60.0, 80.0)
    one = Curve(epochs=(1, 2, 3, 4), losses=losses, knn=knn)
    two = Curve(epochs=(1, 2, 3, 4), losses=losses, knn=(40.0, 50.0, None, 90.0))
    (axes,) = epochs.neighbours({"A, digits": [Line(label="simclr", curves=[one, two])]}).axes
    label = "simclr (mean of 2 seeds): 85.00 % at the end"
    assert drawn(axes) == {label: ([1, 4], [35.0, 85.0])}
    assert (axes.y_label, axes.title) == ("k-NN accuracy (%)", "A, digits")


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
    (axes,) = epochs.neighbours({"A, digits": lines}).axes
    assert {label: y for y, label, _ in axes.levels} == labels


def test_seeds_meet_at_the_epochs_that_all_of_them_know():
    longer = Curve(epochs=(2, 3, 4), losses=(3.0, 2.0, 1.0))
    assert Line(label="", curves=[ONE, longer]).mean("losses") == ([2, 3], [2.0, 1.125], [1.0, 0.25], [3.0, 2.0])
    assert Line(label="", curves=[ONE, longer]).end("losses") == 1.125


def test_every_training_has_its_row_of_titled_panels_with_names_units_and_legend():
    lines = [Line(label="pre-trained", curves=[ONE], printed=96.41), Line(label="from scratch", curves=[TWO])]
    figure = epochs.trainings({"A, cifar10": lines, "B, cifar100": lines})
    panels = figure.axes
    assert len(panels) == 4
    assert [panels[0].title, panels[2].title] == ["A, cifar10", "B, cifar100"]
    for accuracy, loss in (panels[:2], panels[2:]):
        assert (accuracy.x_label, accuracy.y_label) == ("epoch", "test accuracy (%)")
        assert (loss.x_label, loss.y_label) == ("epoch", "training loss")
        assert drawn(accuracy)["pre-trained, printed: 96.41 %"][1] == [96.41, 96.41]
        assert sorted(drawn(loss)) == ["from scratch", "pre-trained"]
    for row in legends(figure):
        assert sorted(row) == [
            "from scratch: best 96.00 %, 95 % of it at epoch 3",
            "pre-trained, printed: 96.41 %",
            "pre-trained: best 90.00 %, 95 % of it at epoch 3",
        ]


def test_lines_differ_in_colour_and_in_stroke():
    (axes,) = epochs.losses([Line(label=name, curves=[ONE]) for name in "ABCD"]).axes
    looks = [(line.colour, line.stroke) for line in axes.series]
    assert len({colour for colour, _ in looks}) == len({stroke for _, stroke in looks}) == 4


@pytest.mark.parametrize(
    ("values", "scale"), [((0.63, 0.1, 0.0207), "log"), ((2.0, 1.5, 1.0), "linear"), ((1.0, 0.1, 0.0), "linear")]
)
def test_losses_of_several_magnitudes_stand_on_a_logarithmic_scale(values, scale):
    (axes,) = epochs.losses([Line(label="A", curves=[Curve(epochs=(1, 2, 3), losses=values)])]).axes
    assert axes.is_log == (scale == "log")
    assert list(axes.series[0].y) == list(values)


def test_numbers_on_a_logarithmic_scale_are_plain():
    line = Line(label="A", curves=[Curve(epochs=(1, 2, 3), losses=(0.63, 0.1, 0.0207))])
    text = epochs.losses([line]).content().decode()
    assert ">0.05</text>" in text
    assert "e-0" not in text
