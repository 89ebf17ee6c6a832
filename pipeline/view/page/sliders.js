// A slider for every control: its range, a band for ± around what the fit found, a tick where that is.
const GROUPS = { expression: "Expression", identity: "Shape of the head", pose: "Pose" };

class Sliders {
  // onMove(settled): a slider moved, or came to rest. onColumn(name or null): whose column is to be shown.
  constructor(place, onMove, onColumn) {
    Object.assign(this, { place, onMove, onColumn, rows: [], column: null });
  }

  show(controls, fit) {
    this.column = null;
    this.rows = controls.map((control) => this.row(control));
    const groups = Object.entries(GROUPS).map(([group, title]) => {
      const rows = this.rows.filter((row) => row.control.group === group);
      const head = make("summary", {}, `${title} `, make("span", { textContent: rows.length }));
      const list = make("details", { open: group === "expression" }, head, ...rows.map((row) => row.node));
      list.dataset.group = group;
      return rows.length ? list : "";
    });
    this.place.replaceChildren(...groups);
    this.found(fit, controls.map((control) => control.value));
  }

  row(control) {
    const input = make("input", { type: "range", min: control.low, max: control.high, step: "any" });
    input.setAttribute("aria-label", control.name);
    const value = make("span", { className: "value" });
    const column = make("button", { className: "column", textContent: "∂", title: `What ${control.name} moves` });
    column.setAttribute("aria-pressed", "false");
    column.setAttribute("aria-label", `What ${control.name} moves`);
    const track = make("div", { className: "track" }, draw("svg", { preserveAspectRatio: "none" }), input);
    const node = make("div", { className: "control" }, make("span", { className: "of", textContent: control.name }), value, column, track);
    const row = { control, input, value, column, track, node, found: control.value, sd: null, unseen: false };
    input.addEventListener("input", () => { this.write(row); this.onMove(false); });
    input.addEventListener("change", () => this.onMove(true));
    input.addEventListener("dblclick", () => { input.value = row.found; this.write(row); this.onMove(true); });
    column.addEventListener("click", () => this.press(this.column === control.name ? null : control.name));
    return row;
  }

  press(name) {
    this.column = name;
    for (const row of this.rows) row.column.setAttribute("aria-pressed", String(row.control.name === name));
    this.onColumn(name);
  }

  // What a fit has found: the values, their ±, and which controls the photo does not show.
  found(fit, values) {
    this.rows.forEach((row, index) => {
      row.found = values[index];
      row.sd = fit?.uncertainty?.[row.control.name] ?? null;
      row.unseen = fit?.unobservable?.includes(row.control.name) ?? false;
      row.input.min = Math.min(row.control.low, row.found);
      row.input.max = Math.max(row.control.high, row.found);
      this.mark(row);
    });
    this.reset();
  }

  mark(row) {
    const { control, found, sd } = row, span = control.high - control.low || 1;
    // A browser's thumb keeps inside of the track: its middle goes from 7 px to 7 px before the end.
    const at = (value) => `calc(7px + (100% - 14px) * ${Math.min(1, Math.max(0, (value - control.low) / span))})`;
    const line = draw("line", { x1: 7, x2: "100%", y1: "50%", y2: "50%" });
    const band = draw("rect", { class: "band", rx: 3, height: 6, y: 8 }), tick = draw("rect", { class: "tick", width: 2, height: 12, y: 5 });
    line.style.transform = "translateX(-3.5px)";
    if (sd !== null) {
      const [low, high] = [Math.max(control.low, found - sd), Math.min(control.high, found + sd)];
      band.style.x = at(low);
      band.style.width = `calc((100% - 14px) * ${Math.max(0.01, (high - low) / span)})`;
    }
    tick.style.x = at(found);
    row.track.firstChild.replaceChildren(line, ...(sd === null ? [] : [band]), tick);
    row.node.classList.toggle("unseen", row.unseen);
  }

  write(row) {
    const value = +row.input.value, digits = row.control.unit === "m" ? 3 : 2;
    const moved = Math.abs(value - row.found) > 1e-9;
    const spread = row.unseen ? " not seen" : row.sd === null ? "" : ` ± ${shown(row.sd, digits)}`;
    const doubt = moved ? ` was ${shown(row.found, digits)}${spread}` : spread; // ± is of what was found
    const unit = row.control.unit ? ` ${row.control.unit}` : "";
    row.value.replaceChildren(make("b", { textContent: shown(value, digits) }), make("small", { textContent: doubt + unit }));
    row.input.setAttribute("aria-valuetext", shown(value, digits) + doubt + unit);
    row.node.classList.toggle("moved", moved);
  }

  set(values) {
    this.rows.forEach((row, index) => { row.input.value = values[index]; this.write(row); });
  }

  reset() { this.set(this.rows.map((row) => row.found)); }

  get moved() { return this.rows.some((row) => row.node.classList.contains("moved")); }

  // Where nobody moved a slider, the value is the fit's own, not what the browser made of it.
  get values() { return this.rows.map((row) => (row.node.classList.contains("moved") ? +row.input.value : row.found)); }

  filter(words, moved) {
    for (const row of this.rows) {
      row.node.hidden = !row.control.name.toLowerCase().includes(words) || (moved && !row.node.classList.contains("moved"));
    }
    for (const list of this.place.children) {
      const some = [...list.querySelectorAll(".control")].some((node) => !node.hidden);
      list.hidden = !some;
      if (words || moved) list.open = some;
      else list.open = list.dataset.group === "expression";
    }
  }
}
