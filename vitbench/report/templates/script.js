"use strict";
(() => {
  const MARKS = {
    "reproduced": "good", "holds": "good",
    "deviates": "doubt",
    "opposite sign": "bad", "contradicted": "bad",
    "undecided": "faint", "not run": "faint", "not judged": "faint", "in print only": "faint",
  };
  const NOT_RUN = ["not run", "in print only"];
  const find = (selector, from = document) => from.querySelector(selector);
  const each = (selector, act, from = document) => from.querySelectorAll(selector).forEach(act);
  const made = (name, text, parent) => {
    const element = document.createElement(name);
    element.textContent = text;
    parent?.append(element);
    return element;
  };
  const parsed = noscript => { // what it holds is text to a page with a script, and elements only when needed
    const template = document.createElement("template");
    template.innerHTML = noscript.textContent;
    return template.content;
  };

  // Numbers that open their records

  let packed = null;
  const unpacked = () => (packed ??= JSON.parse(find("#records").textContent));

  function open(place) {
    const { strings, numbers } = unpacked();
    const [id, metric, options, values, plainId, plain] = numbers[place];
    const name = parts => parts.map(part => strings[part]).join("/");
    find("#record-title").textContent = `${strings[metric]} of ${name(id)}`;
    const content = find("#record-content");
    content.replaceChildren();
    list(content, values, name(id), strings[options]);
    if (plain.length) {
      made("h3", `The plain baseline, ${name(plainId)}`, content);
      list(content, plain, name(plainId), strings[options]);
    }
    find("#record").showModal();
  }

  function list(content, values, id, options) {
    const { strings, places, keys, seeds, at, links } = unpacked();
    const box = made("div", "", content);
    box.className = "scroll";
    box.tabIndex = 0;
    const table = made("table", "", box);
    const head = made("tr", "", made("thead", "", table));
    for (const title of ["Seed", "Value", "Record", "Machine", "Device", "Precision", "Engine", "torch", "Commit", "Date"])
      made("th", title, head).scope = "col";
    const body = made("tbody", "", table), commands = new Set();
    for (let i = 0; i < values.length; i += 2) {
      const record = values[i], seed = strings[seeds[record]];
      const [machine, device, precision, engine, torch, commit, date, flags] = places[at[record]].map(one => strings[one]);
      const row = made("tr", "", body);
      made("td", seed, row);
      made("td", String(values[i + 1]), row);
      const key = made("td", "", row);
      if (links[record]) made("a", keys[record], key).href = links[record];
      else made("code", keys[record], key);
      for (const text of [machine, device, precision, engine, torch, commit, date]) made("td", text, row);
      commands.add(command(id, seed, options, flags));
    }
    made("p", commands.size > 1 ? "Again:" : "The same again:", content);
    made("pre", [...commands].join("\n"), content).tabIndex = 0;
  }

  const quoted = text => (/^[\w.+:\/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

  function command(id, seed, options, flags) {
    if (!options) return `pytest --pyargs vitbench.benchmarks.test_size -k ${quoted(id)}`;
    return ["vitbench run", quoted(id), options, `--seed ${seed}`, flags].filter(Boolean).join(" ");
  }

  function openable(cell) {
    const button = made("button", cell.textContent);
    button.type = "button";
    button.setAttribute("aria-haspopup", "dialog");
    cell.replaceChildren(button);
  }

  document.addEventListener("click", event => {
    const cell = event.target.closest("[data-n]");
    if (cell && event.target.closest("button")) open(Number(cell.dataset.n));
  });

  // The table of all cells

  const table = find("#cells"), body = table.tBodies[0], form = find("#filters");
  const heads = [...table.tHead.rows[0].cells];
  const column = Object.fromEntries(heads.map((head, index) => [head.dataset.name, index]));
  const FILTERS = ["paper", "dataset", "budget", "verdict"];
  const texts = new Map(); // per row, in lower case, once it was asked for
  const rows = [], SHOWN = Number(table.dataset.most), TOTAL = Number(table.dataset.rows);
  const text = (row, name) => row.element.cells[column[name]].textContent;
  let sort = { name: "", down: false }, most = SHOWN;

  const add = element => rows.push({ element, place: rows.length, isReady: false });

  function complete() { // the rows beyond the first ones, when something but those is asked for
    if (rows.length < TOTAL) each("tbody tr", add, parsed(find("#rest")));
  }

  function ready(row) { // marks and buttons, when a row is first shown
    if (!row.isReady) {
      const verdict = row.element.cells[column.verdict];
      verdict.className = MARKS[verdict.textContent] ?? "";
      each("[data-n]", openable, row.element);
      row.isReady = true;
    }
    return row.element;
  }

  function words(row) {
    if (!texts.has(row)) texts.set(row, [...row.element.cells].map(cell => cell.textContent).join(" \n ").toLowerCase());
    return texts.get(row);
  }

  function chosen() {
    const wanted = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const picked = FILTERS.map(name => [name, form.elements[name].value]).filter(([, value]) => value);
    const matching = rows.filter(row =>
      picked.every(([name, value]) => text(row, name) === value) && wanted.every(word => words(row).includes(word)));
    const all = form.elements.all?.checked ?? true;
    if (all || NOT_RUN.includes(form.elements.verdict.value)) return [matching, 0];
    const run = matching.filter(row => text(row, "ours"));
    return [run, matching.length - run.length];
  }

  function sorted(found) {
    if (!Object.hasOwn(column, sort.name)) return found;
    const isNumber = heads[column[sort.name]].classList.contains("n");
    const key = row => (isNumber ? Number.parseFloat(text(row, sort.name)) : text(row, sort.name));
    const isEmpty = value => value === "" || Number.isNaN(value);
    const order = new Intl.Collator("en", { numeric: true });
    return found.map(row => [key(row), row]).sort(([a, one], [b, other]) => {
      if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b) || one.place - other.place; // last, either way
      const difference = isNumber ? a - b : order.compare(a, b);
      return (sort.down ? -difference : difference) || one.place - other.place;
    }).map(([, row]) => row);
  }

  function show() {
    complete();
    const [found, hidden] = chosen();
    body.replaceChildren(...sorted(found).slice(0, most).map(ready));
    for (const head of heads) {
      if (head.dataset.name === sort.name) head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    tell(found.length, hidden);
  }

  function tell(found, hidden) {
    const count = [`${found} of ${TOTAL} rows`];
    if (found > most) count.push(`the first ${most} are shown`);
    if (hidden) count.push(`${hidden} more match that nothing was run for`);
    find("#count").textContent = count.join("; ");
    find("#more").hidden = found <= most;
  }

  const START = "#explorer?"; // how an address begins that holds a view

  function keep() {
    const state = new URLSearchParams();
    for (const name of ["q", ...FILTERS]) if (form.elements[name].value) state.set(name, form.elements[name].value);
    if (form.elements.all?.checked) state.set("all", "1");
    if (sort.name) state.set("sort", (sort.down ? "-" : "") + sort.name);
    history.replaceState(null, "", state.size ? START + state : "#explorer");
  }

  function take() {
    if (!location.hash.startsWith(START)) return false;
    const state = new URLSearchParams(location.hash.slice(START.length));
    for (const name of ["q", ...FILTERS]) form.elements[name].value = state.get(name) ?? "";
    if (form.elements.all) form.elements.all.checked = state.has("all");
    const name = state.get("sort") ?? "";
    sort = { name: name.replace(/^-/, ""), down: name.startsWith("-") };
    most = SHOWN;
    show();
    find("#explorer").scrollIntoView();
    return true;
  }

  for (const head of heads) {
    const button = made("button", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const isSame = sort.name === head.dataset.name;
      sort = { name: head.dataset.name, down: isSame ? !sort.down : head.classList.contains("n") }; // best first
      show();
      keep();
    });
  }
  form.addEventListener("input", () => { most = SHOWN; show(); keep(); });
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { sort = { name: "", down: false }; most = SHOWN; show(); keep(); }));
  find("#more button").addEventListener("click", () => { most = Infinity; show(); });
  window.addEventListener("hashchange", take);
  form.hidden = false;
  each("tr", add, body);
  if (!take()) {
    rows.forEach(ready);
    tell(TOTAL - table.dataset.hidden, Number(table.dataset.hidden));
  }

  // Leaderboards and the rest

  const sizes = find("#sizes");
  function narrow() {
    const at = Number(sizes.elements.board.value);
    const limits = ["params", "macs"].map(name => [name, sizes.elements[name].valueAsNumber]).filter(one => one[1] >= 0);
    let shown = 0, all = 0;
    const boards = document.querySelectorAll(".board");
    if (boards[at].localName === "noscript") {
      const board = find("section", parsed(boards[at]));
      each("[data-n]", openable, board);
      boards[at].replaceWith(board);
    }
    each(".board", (board, index) => { board.hidden = index !== at; });
    each("tbody tr", row => {
      const fits = limits.every(([name, limit]) => row.dataset[name] !== "" && Number(row.dataset[name]) <= limit);
      row.hidden = !fits;
      shown += fits;
      all += 1;
    }, document.querySelectorAll(".board")[at]);
    find("#board-count").textContent = shown === all ? "" : `${shown} of ${all} rows`;
  }
  if (sizes) {
    each(".board [data-n]", openable);
    sizes.addEventListener("input", narrow);
    sizes.addEventListener("submit", event => event.preventDefault());
    sizes.hidden = false;
    narrow();
  }
  each("#conclusions td", cell => { cell.className = MARKS[cell.textContent] ?? ""; });
})();
