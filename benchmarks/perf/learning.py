"""Whether the quick budget learns photographs: loss and accuracy of tiny networks on a folder of them.

Plain cross-entropy under the quick recipe of floros2024, as `pytest benchmarks -k "floros2024 and ce"
--dataset imagefolder:FOLDER` trains it, one network after the other on one thread. That recipe mixes no images, so
that the loss can go to 0; under liu2021's, which mixes images and smooths labels, the entropy of its targets is left.

    python benchmarks/perf/learning.py FOLDER [--image-size N] [MODEL ...]

To reach: a training loss of at most half of the first epoch's, and after the last epoch more than three times the
accuracy of guessing. Exits with 1 where a network misses one of them. FOLDER has train/<class>/* and val/<class>/*;
its decoded pictures are kept there. At 32 pixels a network takes about a minute, at 224 some 15.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from vitbench import identity, papers
from vitbench.case import Budget, Case, Model
from vitbench.errors import UserError
from vitbench.records import Record, Store
from vitbench.run import Setting, execute
from vitbench.selection import Selection

MODELS = ("vit/tiny", "resnet/tiny", "t2t/tiny", "cvt/tiny", "swin/tiny")


def plain(folder: str) -> Case:
    """Cross-entropy alone on the folder, by the recipe of floros2024."""
    selection = Selection(datasets=(f"imagefolder:{folder}",))
    selection.check()
    return next(one for one in selection.cases(papers.load_all()) if one.paper == "floros2024" and one.is_baseline)


def line(model: str, record: Record) -> tuple[str, bool]:
    """What came out, and whether it learnt."""
    curves, guessing = record.details["curves"], 100 / record.identity["classes"]
    first, last = curves[0]["loss"], curves[-1]["loss"]
    reached, best = record.measurements["accuracy"], record.measurements["best_accuracy"]
    learns = last <= first / 2 and reached > 3 * guessing
    text = f"{model:14} {len(curves):4} epochs {record.provenance['seconds']:5.0f} s   loss {first:.2f} to {last:.2f}"
    return f"{text}   accuracy {reached:.1f} (best {best:.1f})   {'learns' if learns else 'DOES NOT LEARN'}", learns


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether the quick budget learns photographs.")
    parser.add_argument("folder")
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--image-size", type=int, default=identity.QUICK_SIZE)
    options = parser.parse_args()
    found = []
    try:
        case = plain(options.folder)
        with tempfile.TemporaryDirectory() as folder:
            for name in options.models:
                one = replace(case, model=Model(name=name, full=name, tiny=name, printed=name))
                run = identity.of_run(one, budget=Budget.QUICK, image_size=options.image_size)
                text, learns = line(name, execute(run, Setting(store=Store(Path(folder)))))
                print(text, flush=True)
                found.append(learns)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return int(not all(found))


if __name__ == "__main__":
    sys.exit(main())
