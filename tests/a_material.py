"""What reports are made of, for tests of pages: something of everything, and names that try to break a page."""

from dataclasses import replace

from vitbench.case import Budget
from vitbench.compare import Finding, Verdict
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection

KEY = "aaaaaaaaaaaa"
QUICK = {"budget": "quick", "machine": "", "device": "a processor", "key": KEY}
SIZE = {"seed": "", "recipe": "", "machine": "any", "device": "", "key": "eeeeeeeeeeee"}
HOSTILE = [
    "a | b",
    "two\nlines",
    "<script>failures.push('a name ran')</script>",
    "</script><img src=x onerror=\"failures.push('a name ran')\">",
    "</td></table>",
    "\"quoted\" and 'so'",
    "{{ 7 * 7 }}",
    "&lt;b&gt; &amp;",
    "emoji 🧪",
    "عربي | עברית",
    "\u202eturned",
    "<!--",
    "\u2028",
]


def of_everything(paper, results, measured):
    """A paper with numbers, sizes, quick runs, a link, a stale value and a problem."""
    made = [
        *results,
        measured("vit", "ce", "cifar10", 63.0, seed="1"),
        measured("vit", "ce", "cifar10", 5.4321, "params", **SIZE),
        measured("vit", "ce", "cifar10", 0.9876, "macs", **SIZE),
        measured("vit", "ce", "digits", 95.0, **QUICK),
        measured("vit", "ce + 0.1*me", "digits", 96.5, **QUICK),
    ]
    old = {"value": None, "reference": 60.0, "against": "recorded 2026-01-01 by another version"}
    return Material(
        papers=[paper],
        results=Results(made),
        cases={budget: Selection(budget=budget).cases([paper]) for budget in (Budget.PAPER, Budget.QUICK)},
        links={KEY: "../runs/a%20run/record.json"},
        findings=[Finding(subject="small2026/1/vit/ce/cifar10", metric="accuracy", verdict=Verdict.STALE, **old)],
        problems=["runs/x/record.json: it is torn | cut; set aside"],
    )


def of_hostile_names(paper, measured):
    """A paper each of whose names is of `HOSTILE`, and so is whatever else a record says."""
    names = iter(HOSTILE * 99)
    table = paper.tables[0]
    models = {case.model.name: replace(case.model, printed=next(names)) for case in table.cases}
    cases = tuple(replace(case, model=models[case.model.name], table=next(names)) for case in table.cases)
    table = replace(table, id=cases[0].table, cases=cases)
    tables = [replace(table, id=name, cases=tuple(one for one in cases if one.table == name)) for name in HOSTILE]
    name = " ".join(HOSTILE)
    said = replace(paper.conclusions[0], text=name, where=name, table=tables[0].id)
    changed = replace(paper, title=name, authors=name, tables=tuple(tables), conclusions=(said,))
    made = [
        measured(case.model.name, str(case.objective), case.dataset, 60.0 + place, device=HOSTILE[place], commit=name)
        for place, case in enumerate(cases)
    ]
    return Material(
        papers=[changed],
        results=Results(made),
        cases={Budget.PAPER: cases},
        links={"0123456789ab": f"file:///{HOSTILE[3]}"},
        problems=HOSTILE,
    )
