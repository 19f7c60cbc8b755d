"use strict";
// The explorer of a report: gains and losses between two cells, squares of the confusion matrix,
// generated sentences. It reads the data in the page and makes no request.
(function () {
  const data = JSON.parse(document.getElementById("x-data").textContent);
  const el = (id) => document.getElementById(id);
  const PAGE = 50;
  const count = (n) => n.toLocaleString("en");
  const names = (value) => {
    const all = value.map((item) => (Array.isArray(item) ? item[2] : item));
    return all.length ? Array.from(new Set(all)) : ["none"];
  };
  const told = (value) => (value.length && !Array.isArray(value[0]) ? value : names(value)).join(", ") || "none";
  const make = (tag, text, attributes) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    Object.entries(attributes || {}).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  };
  const choices = (select, entries) => {
    select.replaceChildren(...entries.map(([value, label]) => make("option", label, { value })));
  };
  // characters are counted in code points, as everywhere in the product
  function marked(text, spans) {
    const letters = Array.from(text);
    const box = make("span");
    let at = 0;
    spans.forEach(([start, end, type]) => {
      if (start < at) return;
      box.append(letters.slice(at, start).join(""));
      const piece = make("mark", letters.slice(start, end).join(""));
      piece.append(make("sub", type));
      box.append(piece);
      at = end;
    });
    box.append(letters.slice(at).join(""));
    return box;
  }
  function entities(text, marks) {
    const spans = [];
    marks.forEach((mark) => {
      for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + mark.length)) {
        spans.push([Array.from(text.slice(0, at)).length, Array.from(text.slice(0, at + mark.length)).length, ""]);
      }
    });
    return marked(text, spans.sort((a, b) => a[0] - b[0]));
  }
  // a list that grows by pages: ten thousand sentences are never in the page at once
  function list(box, items, title, draw) {
    const ul = make("ul");
    const more = make("button", "", { type: "button", class: "more" });
    let shown = 0;
    const grow = () => {
      items.slice(shown, shown + PAGE).forEach((item) => ul.append(draw(item)));
      shown = Math.min(items.length, shown + PAGE);
      more.textContent = "Show more (" + count(items.length - shown) + " left)";
      more.hidden = shown >= items.length;
    };
    more.addEventListener("click", grow);
    box.replaceChildren(...(title ? [make("h4", title)] : []), ul, more);
    grow();
  }
  const test = () => data.tests[Number(el("x-test").value) || 0];
  const predictions = (cell) => cell.predictions[Math.min(Number(el("x-seed").value) || 0, cell.predictions.length - 1)];
  const cellAt = (id) => test().cells[Number(el(id).value) || 0];
  function sentence(i, lines) {
    const now = test();
    const item = make("li");
    const text = now.texts[i];
    if (now.kind === "ner" && text) {
      const rows = make("div", undefined, { class: "spans" });
      [["experts", now.gold[i]], ...lines].forEach(([who, value]) => rows.append(make("small", who), marked(text, now.values[value])));
      item.append(rows, make("small", now.ids[i]));
      return item;
    }
    item.append(text ? entities(text, now.marks) : make("span", "[text left out: restricted corpus]"));
    const labels = [["experts", now.gold[i]], ...lines].map(([who, value]) => who + ": " + told(now.values[value]));
    item.append(make("small", labels.join(" · ") + " · " + now.ids[i]));
    return item;
  }
  function compare() {
    const now = test();
    const [one, two] = [cellAt("x-first"), cellAt("x-second")];
    const [a, b] = [predictions(one), predictions(two)];
    const table = {};
    ["all", ...now.categories, "none"].forEach((name) => { table[name] = { gained: [], lost: [] }; });
    now.gold.forEach((gold, i) => {
      if ((a[i] === gold) === (b[i] === gold)) return;
      const kind = b[i] === gold ? "gained" : "lost";
      ["all", ...names(now.values[gold])].forEach((name) => table[name][kind].push(i));
    });
    const lines = (i) => [[one.name, a[i]], [two.name, b[i]]];
    el("x-summary").textContent = two.name + " gains " + count(table.all.gained.length) + " and loses " + count(table.all.lost.length)
      + " of " + count(now.gold.length) + " test sentences against " + one.name + "; "
      + count(table.none.lost.length) + " of the losses are false alarms on “none”.";
    const head = make("tr");
    ["gold's category", "gained", "lost", "net"].forEach((title, n) => head.append(make("th", title, { scope: "col", class: n ? "n" : "" })));
    const body = make("tbody");
    Object.entries(table).forEach(([name, { gained, lost }]) => {
      const row = make("tr");
      row.append(make("th", name, { scope: "row" }));
      [["gained", gained], ["lost", lost]].forEach(([kind, found]) => {
        const cell = make("td");
        const button = make("button", count(found.length), { type: "button", "aria-pressed": "false", "aria-label": name + " " + kind + ": " + found.length });
        button.addEventListener("click", () => {
          el("x-changes").querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", "false"));
          button.setAttribute("aria-pressed", "true");
          list(el("x-pair"), found, count(found.length) + " sentences " + kind + ", " + name, (i) => sentence(i, lines(i)));
        });
        cell.append(button);
        row.append(cell);
      });
      row.append(make("td", (gained.length - lost.length > 0 ? "+" : "") + count(gained.length - lost.length)));
      body.append(row);
    });
    const top = make("thead");
    top.append(head);
    el("x-changes").replaceChildren(top, body);
    el("x-pair").replaceChildren();
    confusion(two);
  }
  function confusion(cell) {
    const now = test();
    const found = predictions(cell);
    const rows = [...now.categories, "none"];
    const squares = new Map();
    now.gold.forEach((gold, i) => {
      const [truth, guess] = [names(now.values[gold]), names(now.values[found[i]])];
      const right = truth.filter((name) => guess.includes(name));
      const pairs = right.map((name) => [name, name]);
      const missed = truth.filter((name) => !right.includes(name));
      const extra = guess.filter((name) => !right.includes(name));
      (missed.length ? missed : extra.length ? ["none"] : []).forEach((m) => (extra.length ? extra : ["none"]).forEach((e) => pairs.push([m, e])));
      if (now.kind === "ner" && gold !== found[i] && !missed.length && !extra.length) return;
      pairs.forEach(([truth_, guess_]) => {
        const key = truth_ + "\n" + guess_;
        if (!squares.has(key)) squares.set(key, []);
        squares.get(key).push(i);
      });
    });
    el("x-which").textContent = cell.name;
    const head = make("tr");
    head.append(make("th", "gold", { scope: "col" }), ...rows.map((name) => make("th", name.replaceAll("_", " "), { scope: "col", class: "n" })));
    const top = make("thead");
    top.append(head);
    const body = make("tbody");
    rows.forEach((truth) => {
      const row = make("tr");
      row.append(make("th", truth, { scope: "row" }));
      rows.forEach((guess) => {
        const at = squares.get(truth + "\n" + guess) || [];
        const square = make("td");
        if (at.length) {
          const button = make("button", count(at.length), { type: "button", "aria-pressed": "false", "aria-label": "gold " + truth + ", predicted " + guess + ": " + at.length });
          button.addEventListener("click", () => {
            el("x-confusion").querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", "false"));
            button.setAttribute("aria-pressed", "true");
            list(el("x-square"), at, count(at.length) + " sentences: gold " + truth + ", predicted " + guess, (i) => sentence(i, [[cell.name, found[i]]]));
          });
          square.append(button);
        } else square.textContent = "·";
        row.append(square);
      });
      body.append(row);
    });
    el("x-confusion").replaceChildren(top, body);
    el("x-square").replaceChildren();
  }
  const made = data.made.map(([id, source, text, labels, spans, confidence, fate, near, score]) => (
    { id, source, text, labels, spans, confidence, fate, near, score, low: text.toLowerCase(), names: names(spans.length ? spans : labels) }));
  function browse() {
    const wanted = el("x-search").value.trim().toLowerCase();
    const [source, category, confidence, fate] = ["x-source", "x-category", "x-confidence", "x-fate"].map((id) => el(id).value);
    const found = made.filter((one) => (!source || one.source === source) && (!category || one.names.includes(category))
      && (!confidence || one.confidence === confidence) && (!fate || one.fate === fate)
      && (!wanted || one.low.includes(wanted) || one.id.toLowerCase().includes(wanted)));
    el("x-count").textContent = count(found.length) + " of " + count(made.length) + " sentences";
    list(el("x-made"), found, "", (one) => {
      const item = make("li");
      item.append(one.text ? (one.spans.length ? marked(one.text, one.spans) : make("span", one.text)) : make("span", "[text left out: restricted corpus]"));
      const facts = [one.source, one.names.join(", "), one.confidence && "confidence " + one.confidence, one.fate, one.id];
      item.append(make("small", facts.filter(Boolean).join(" · ")));
      if (one.near >= 0) item.append(make("div", "nearest gold (" + one.score.toFixed(2) + "): " + data.gold[one.near][0], { class: "near" }));
      return item;
    });
  }
  function all(title, values) {
    return [["", title], ...Array.from(new Set(values)).filter(Boolean).sort().map((value) => [value, value])];
  }
  function start() {
    const now = test();
    const cells = now.cells.map((cell, i) => [String(i), cell.name]);
    choices(el("x-first"), cells);
    choices(el("x-second"), cells);
    el("x-second").value = String(Math.min(1, cells.length - 1));
    const seeds = Math.max(...now.cells.map((cell) => cell.predictions.length));
    choices(el("x-seed"), Array.from({ length: seeds }, (_, i) => [String(i), String(i + 1)]));
    el("x-seed-label").hidden = seeds < 2;
    compare();
  }
  choices(el("x-test"), data.tests.map((one, i) => [String(i), one.name]));
  choices(el("x-source"), all("all", made.map((one) => one.source)));
  choices(el("x-category"), all("all", made.flatMap((one) => one.names)));
  choices(el("x-confidence"), all("all", made.map((one) => one.confidence)));
  choices(el("x-fate"), all("all", made.map((one) => one.fate)));
  el("x-test").addEventListener("change", start);
  ["x-first", "x-second", "x-seed"].forEach((id) => el(id).addEventListener("change", compare));
  let waiting = 0;
  el("x-search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(browse, 80); });
  ["x-source", "x-category", "x-confidence", "x-fate"].forEach((id) => el(id).addEventListener("change", browse));
  if (data.tests.length) start();
  if (made.length) browse(); else el("x-browse").hidden = true;
  document.querySelector("#explorer .live").hidden = false;
})();
