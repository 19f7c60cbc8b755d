"use strict";
// The judging page: shows one item at a time, keeps judgements in the browser, saves them as JSON.
const data = JSON.parse(document.getElementById("data").textContent);
const el = (id) => document.getElementById(id);
const place = "touchstone-review-" + data.id;
const ner = data.kind === "ner";
let at = 0;
let kept = {};
let expert = "";
try {
  const stored = JSON.parse(localStorage.getItem(place) || "{}");
  kept = stored.kept || {};
  expert = stored.expert || "";
} catch (error) { /* no storage for files in this browser: judgements last as long as the page */ }

function keep() {
  try { localStorage.setItem(place, JSON.stringify({ kept, expert })); } catch (error) { /* as above */ }
}
function start(item) {
  return { labels: (item.labels || []).slice(), spans: (item.spans || []).map((s) => units(item.text, s)),
    realistic: "", identifier: "", comment: "", judged: false };
}
// spans are kept in UTF-16 units here, as selections are; files count characters
function units(text, span) {
  const letters = Array.from(text);
  const length = (n) => letters.slice(0, n).join("").length;
  return { start: length(span.start), end: length(span.end), type: span.type };
}
function characters(text, span) {
  const count = (n) => Array.from(text.slice(0, n)).length;
  return { start: count(span.start), end: count(span.end), type: span.type };
}
function judgement(item) { return kept[item.item] || start(item); }
function change(edit) {
  const item = data.items[at];
  const one = judgement(item);
  edit(one);
  kept[item.item] = one;
  keep();
  show();
}
function choose(id) {
  if (ner && id !== "none") { mark(id); return; }
  change((one) => {
    one.judged = true;
    if (id === "none") { one.labels = ["none"]; one.spans = []; return; }
    const others = data.single ? [] : one.labels.filter((label) => label !== "none" && label !== id);
    one.labels = one.labels.includes(id) ? others : others.concat(id);
    if (!one.labels.length) one.judged = false;
  });
}
function offset(node, within) {
  const before = document.createRange();
  before.selectNodeContents(el("text"));
  before.setEnd(node, within);
  const copy = before.cloneContents();
  copy.querySelectorAll("button").forEach((button) => button.remove());
  return copy.textContent.length;
}
function mark(type) {
  const chosen = document.getSelection();
  if (!chosen.rangeCount || chosen.isCollapsed || !el("text").contains(chosen.anchorNode)) {
    el("hint").textContent = "Select the words first, then the type.";
    return;
  }
  const range = chosen.getRangeAt(0);
  const text = data.items[at].text;
  let from = offset(range.startContainer, range.startOffset);
  let to = offset(range.endContainer, range.endOffset);
  while (from < to && /\s/.test(text[from])) from += 1;
  while (to > from && /\s/.test(text[to - 1])) to -= 1;
  if (from >= to) return;
  change((one) => {
    one.judged = true;
    one.labels = [];
    one.spans = one.spans.filter((s) => s.end <= from || s.start >= to).concat({ start: from, end: to, type });
    one.spans.sort((a, b) => a.start - b.start);
  });
}
function button(label, pressed, act, key) {
  const made = document.createElement("button");
  made.type = "button";
  if (key) { const hint = document.createElement("kbd"); hint.textContent = key; made.append(hint); }
  made.append(label);
  if (pressed !== null) made.setAttribute("aria-pressed", String(pressed));
  made.addEventListener("click", act);
  return made;
}
function showText(item, one) {
  const box = el("text");
  box.replaceChildren();
  let position = 0;
  one.spans.forEach((span, number) => {
    box.append(item.text.slice(position, span.start));
    const piece = document.createElement("mark");
    piece.append(item.text.slice(span.start, span.end));
    const remove = button(span.type + " ×", null, () => change((edited) => edited.spans.splice(number, 1)));
    remove.setAttribute("aria-label", "remove " + span.type);
    piece.append(remove);
    box.append(piece);
    position = span.end;
  });
  box.append(item.text.slice(position));
}
function show() {
  const item = data.items[at];
  const one = judgement(item);
  showText(item, one);
  el("hint").textContent = item.source ? "source: " + item.source : (ner ? "Select words, then choose their type." : "");
  const judged = data.items.filter((other) => kept[other.item] && kept[other.item].judged).length;
  el("state").textContent = "Item " + (at + 1) + " of " + data.items.length + ", " + judged + " judged";
  el("done").max = data.items.length;
  el("done").value = judged;
  el("comment").value = one.comment;
  el("choices").replaceChildren(...data.categories.map((category, number) => button(category.name,
    ner ? one.spans.some((s) => s.type === category.id) : one.labels.includes(category.id),
    () => choose(category.id), number < 9 ? String(number + 1) : "")),
  button(ner ? "nothing to mark" : "none of these", one.judged && (ner ? !one.spans.length : one.labels.includes("none")), () => choose("none"), "0"));
  el("asks").replaceChildren(...data.asks.map((ask) => {
    const group = document.createElement("fieldset");
    const legend = document.createElement("legend");
    legend.textContent = ask.question;
    const row = document.createElement("div");
    row.className = "row";
    ["yes", "no"].forEach((answer) => row.append(button(answer, one[ask.id] === answer,
      () => change((edited) => { edited[ask.id] = answer; }))));
    group.append(legend, row);
    return group;
  }));
}
function go(to) { at = Math.max(0, Math.min(data.items.length - 1, to)); show(); window.scrollTo(0, 0); }
function save() {
  const judgements = data.items.filter((item) => kept[item.item] && kept[item.item].judged).map((item) => {
    const one = kept[item.item];
    return { item: item.item, labels: one.labels, spans: one.spans.map((span) => characters(item.text, span)),
      realistic: one.realistic, identifier: one.identifier, comment: one.comment };
  });
  const name = (expert || "expert").replace(/[^\w-]+/g, "_");
  const file = new Blob([JSON.stringify({ touchstone_review: data.id, expert: expert || "expert", judgements }, null, 1)], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "judgements-" + data.id + "-" + name + ".json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
el("expert").value = expert;
el("expert").addEventListener("input", () => { expert = el("expert").value.trim(); keep(); });
el("comment").addEventListener("change", () => { const text = el("comment").value; change((one) => { one.comment = text; }); });
el("back").addEventListener("click", () => go(at - 1));
el("next").addEventListener("click", () => go(at + 1));
el("open").addEventListener("click", () => {
  const n = data.items.length;
  for (let step = 1; step <= n; step += 1) {
    const other = data.items[(at + step) % n];
    if (!(kept[other.item] && kept[other.item].judged)) { go((at + step) % n); return; }
  }
});
el("save").addEventListener("click", save);
el("ask").textContent = ner ? "What does the sentence mention?" : "What does the sentence state?";
data.categories.forEach((category) => {
  const term = document.createElement("dt");
  const meaning = document.createElement("dd");
  term.textContent = category.name;
  meaning.textContent = category.counts;
  el("guide").append(term, meaning);
});
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "0") choose("none");
  else if (/^[1-9]$/.test(event.key) && data.categories[event.key - 1]) choose(data.categories[event.key - 1].id);
  else if (event.key === "Enter" && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") go(at + 1);
  else if (event.key === "ArrowLeft") go(at - 1);
  else if (event.key === "ArrowRight") go(at + 1);
});
show();
