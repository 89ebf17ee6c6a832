"use strict";
const { names, rows } = JSON.parse(document.getElementById("data").textContent);
const el = (id) => document.getElementById(id);
const [list, form] = [el("faces"), document.querySelector("form")];
const worst = Math.max(...rows.map((row) => row.residual ?? 0)) || 1;

// Text only ever enters the page as text: names of files may look like markup.
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function number(row, name) {
  if (name === "residual") return row.residual;
  return row.values[names.indexOf(name)];
}

const shown = (value) => (Math.abs(value) < 100 ? value.toFixed(2) : value.toFixed(0)).replace("-", "−");

function fill(item, row) {
  const bridged = row.status === "bridged", failed = row.residual === null;
  const link = (file, text, label) => make("a", { href: `${row.link}/${file}`, textContent: text, ariaLabel: label ?? null });
  const picture = failed
    ? make("div", { className: "picture", textContent: bridged ? "between its neighbours" : "no fit" })
    : make("a", { className: "picture", href: `${row.link}/overlay.png`, tabIndex: -1 });
  if (!failed && row.picture) {
    picture.append(make("img", { src: `data:image/webp;base64,${row.picture}`, alt: `Photo and rig of ${row.name}` }));
  }
  const title = row.face ? `${row.name}, face ${row.face}` : row.name;
  const status = make("span", { className: `status ${row.status}`, textContent: row.status.replaceAll("_", " ") });
  const own = bridged ? link("fit.json", title) : failed ? title : link("overlay.png", title);
  const who = make("p", { className: "who" }, own, " ", status);
  const main = make("div", {}, who);
  if (row.error) main.append(make("p", { className: `why ${row.status}`, textContent: row.error }));
  const asked = [el("sort").value, el("column").value].filter((name) => names.includes(name));
  const chips = [...new Set([...asked, ...row.strongest])].filter((name) => number(row, name) !== null);
  main.append(make("ul", { className: "strongest" }, ...chips.map((name) =>
    make("li", { className: asked.includes(name) ? "asked" : "" }, `${name} `, make("b", { textContent: shown(number(row, name)) })))));
  const residual = make("div", { className: "residual" });
  if (!failed) {
    const meter = make("i", { className: "meter" }, make("b"));
    meter.firstChild.style.width = `${(100 * row.residual) / worst}%`;
    residual.append(row.residual.toFixed(2), make("small", { textContent: "% IOD" }), meter);
  }
  const files = make("div", { className: "files" });
  const written = bridged ? ["fit.json", "controls.csv"] : failed ? [] : ["overlay.png", "fit.json", "controls.csv"];
  files.append(...written.map((file) => link(file, file, `${file} of ${title}`)));
  item.replaceChildren(picture, main, residual, files);
}

// The first rows are filled at once, so that none is seen empty, the others when they come near the window:
// thousands of pictures would take seconds.
const AT_ONCE = 20;
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && !target.firstChild) fill(target, rows[target.dataset.row]);
  }
}, { rootMargin: "1200px" });
const items = rows.map((row, index) => {
  const item = make("li", { className: row.residual === null ? "lost" : "" });
  item.dataset.row = index;
  near.observe(item);
  return item;
});

function compare(a, b) {
  const by = el("sort").value, order = +el("order").value;
  if (by === "name") return -order * a.name.localeCompare(b.name, undefined, { numeric: true });
  const [x, y] = [number(a, by), number(b, by)];
  if (x === null || y === null) {
    const nulls = by === "residual" ? order : 1; // without a fit is the worst; elsewhere what has no number comes last
    return nulls * ((x === null) - (y === null));
  }
  return order * (x - y);
}

function update() {
  const words = el("search").value.trim().toLowerCase(), status = el("status").value, column = el("column").value;
  const [from, to] = [el("from"), el("to")].map((input) => (input.value === "" ? null : +input.value));
  const wanted = (row) => {
    if (!row.name.toLowerCase().includes(words) || (status && row.status !== status)) return false;
    if (from === null && to === null) return true;
    const value = number(row, column);
    return value !== null && !(from !== null && value < from) && !(to !== null && value > to);
  };
  const order = rows.map((_, index) => index).sort((a, b) => compare(rows[a], rows[b]) || a - b);
  let count = 0;
  for (const index of order) {
    const visible = wanted(rows[index]);
    items[index].hidden = !visible;
    items[index].replaceChildren(); // what is shown of it depends on what is asked for
    near.unobserve(items[index]);
    count += visible;
  }
  list.replaceChildren(...order.map((index) => items[index]));
  order.filter((index) => !items[index].hidden).slice(0, AT_ONCE).forEach((index) => fill(items[index], rows[index]));
  items.forEach((item) => near.observe(item));
  el("count").textContent = `${count} of ${rows.length}`;
  el("none").hidden = count > 0;
}

form.addEventListener("input", update);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(update));
list.addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!step) return;
  let item = event.target.closest("#faces > li")?.[step];
  while (item && (item.hidden || !item.querySelector(".who a"))) item = item[step];
  item?.querySelector(".who a").focus();
  if (item) event.preventDefault();
});
update();
