const state = { face: 0, fit: null, points: null, mode: "rig", busy: false };
const stage = new Stage(el("rig"), el("photo"));
const sliders = new Sliders(el("sliders"), (settled) => move(settled), (name) => showColumn(name));
const labels = new Labels(stage, () => {});

stage.onDraw = () => {
  const fit = state.mode === "rig" && state.points && el("show-points").checked ? state.fit : null;
  drawPoints(el("points"), stage, fit?.target, state.points?.rig, +el("longer").value);
  el("key").style.visibility = fit && stage.straight ? "" : "hidden";
  if (labels.points.length) labels.paint();
};

function say(sentence) {
  el("said").textContent = sentence ?? "";
  el("said").hidden = !sentence;
}

// Whatever cannot be done is a sentence on the page.
const trying = (work) => async (...given) => {
  try { say(); await work(...given); } catch (error) { say(error.message); }
};

const move = newest(trying(async (settled) => {
  const values = sliders.values, told = await ask("pose", { face: state.face, values, exact: settled });
  stage.vertices(unpack(told.vertices, Float32Array));
  if (told.points) tell(told.points);
  if (settled && sliders.column) await showColumn(sliders.column);
}));

function tell(points) {
  state.points = points;
  const about = points.exact ? "" : "about ";
  if (!sliders.moved) state.fit.residual = points.residual;
  const beside = sliders.moved ? `, ${shown(state.fit.residual)} before` : `, ${state.fit.status.replaceAll("_", " ")}`;
  el("told").replaceChildren("Residual ", make("b", { textContent: `${about}${shown(points.residual)} % IOD` }), beside);
  stage.draw();
}

const showColumn = trying(async (name) => {
  el("legend").hidden = !name;
  if (!name) return stage.heat(null);
  const { control } = sliders.rows.find((row) => row.control.name === name);
  const told = await ask("column", { face: state.face, values: sliders.values, control: name });
  const mm = unpack(told.mm, Float32Array), most = mm.reduce((a, b) => Math.max(a, b), 0);
  stage.heat(mm.map((value) => (most ? value / most : 0)));
  el("legend-name").textContent = `What ${name} moves, mm per ${control.unit || "unit"}`;
  el("legend-most").textContent = most ? most.toPrecision(3).replace(/\.?0+$/, "") : "nothing";
});

const open = trying(async (face) => {
  const item = state.items[face];
  if (item.why) {
    el("item").value = state.face;
    throw new Error(`There is no fit of ${item.name}: ${item.why}`);
  }
  wait(true);
  try {
    const told = await ask("open", { face });
    Object.assign(state, { face, fit: told.fit, points: null });
    el("photo").hidden = !told.fit?.photo;
    if (told.fit?.photo) {
      el("photo").src = await askPicture(face);
      el("photo").style.width = `${told.rig.size[0]}px`;
      await el("photo").decode();
    }
    el("legend").hidden = true;
    await stage.show(told.rig);
    sliders.show(told.rig.controls, told.fit);
    filter();
    for (const node of document.querySelectorAll("[data-needs]")) {
      node.hidden = { fit: !told.fit, photo: !told.fit?.photo, "rig-only": told.fit }[node.dataset.needs];
    }
    el("to-labels").disabled = !told.fit?.photo;
    el("title").textContent = item.name;
    if (told.fit) {
      labels.show(told.fit.labels);
      tell(told.fit.points);
    } else el("told").textContent = `${told.rig.controls.length} controls`;
    const [x, y, side] = told.fit?.region ?? [told.rig.camera[1], told.rig.camera[2], told.rig.size[0] / 1.25];
    state.frame = [x, y, side * 1.25];
    stage.frame(state.frame);
    switchTo("rig");
    if (told.fit && !told.fit.photo) say(told.fit.without_photo);
  } finally { wait(false); }
});

function wait(busy) {
  state.busy = busy;
  for (const id of ["solve", "save", "fit-labels", "save-labels", "reset", "item", "find"]) el(id).disabled = busy;
  for (const row of sliders.rows) row.input.disabled = busy;
  el("paper").setAttribute("aria-busy", busy);
  if (!busy && labels.points.length) labels.paint();
}

const solve = trying(async (asked) => {
  wait(true);
  el("busy").hidden = false;
  try {
    await ask("solve", { face: state.face, values: sliders.values, ...asked });
    let told;
    do {
      await new Promise((go) => setTimeout(go, 250));
      told = await ask("progress");
      el("bar").max = told.of || 1;
      el("bar").value = told.step;
      el("step").textContent = told.residual === null ? "looking at the photo" : `step ${told.step}, ${shown(told.residual)} % IOD`;
    } while (!told.done);
    if (told.error) throw new Error(told.error);
    const found = told.found;
    Object.assign(state.fit, { uncertainty: found.uncertainty, unobservable: found.unobservable, status: found.status });
    sliders.found(state.fit, found.values);
    if (found.labelled) switchTo("rig");
    const change = `${shown(found.start)} → ${shown(found.final)} % IOD`;
    wait(false);
    await move(true);
    say(found.labelled ? `Fitted to your points: ${change} between them and the rig's. ${found.report}` : `Solved again: ${change}.`);
  } finally {
    el("busy").hidden = true;
    wait(false);
  }
});

function switchTo(mode) {
  state.mode = mode;
  for (const node of document.querySelectorAll("[data-mode]")) {
    node.hidden = node.dataset.mode !== mode || { fit: !state.fit }[node.dataset.needs];
  }
  el("to-rig").setAttribute("aria-pressed", String(mode === "rig"));
  el("to-labels").setAttribute("aria-pressed", String(mode === "labels"));
  el("paper").classList.toggle("labels", mode === "labels");
  el("rig").style.visibility = mode === "labels" ? "hidden" : "";
  el("marks").style.display = mode === "labels" ? "" : "none";
  el("legend").hidden = mode === "labels" || !sliders.column;
  if (mode === "labels" && !stage.straight) stage.frame(state.frame);
  stage.draw();
}

const filter = () => sliders.filter(el("search").value.trim().toLowerCase(), el("moved").checked);
const written = (told) => say(`Written: ${told.files.join(", ")} in ${told.folder}`);

// One finger, mouse or pen: turns the rig, or moves the photo and its points.
let held = null;
el("paper").addEventListener("pointerdown", (event) => {
  const point = event.target.dataset?.point;
  held = { x: event.clientX, y: event.clientY, point: point === undefined ? null : +point, far: false };
  if (held.point !== null) labels.choose(held.point);
  el("paper").setPointerCapture(event.pointerId);
  el("paper").focus();
});
el("paper").addEventListener("pointermove", (event) => {
  if (!held) return;
  const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
  if (!held.far && Math.hypot(dx, dy) < 3) return;
  Object.assign(held, { x: event.clientX, y: event.clientY, far: true });
  if (held.point !== null) {
    const box = el("paper").getBoundingClientRect();
    labels.place(held.point, stage.toPhoto(event.clientX - box.left, event.clientY - box.top));
  } else if (state.mode === "labels" || event.shiftKey) stage.pan(dx, dy);
  else stage.orbit(dx, dy);
});
el("paper").addEventListener("pointerup", (event) => {
  if (held && !held.far && held.point === null && state.mode === "labels") {
    const box = el("paper").getBoundingClientRect();
    labels.click(stage.toPhoto(event.clientX - box.left, event.clientY - box.top));
  }
  held = null;
});
el("paper").addEventListener("pointercancel", () => { held = null; });
el("paper").addEventListener("wheel", (event) => {
  const box = el("paper").getBoundingClientRect();
  stage.zoom(Math.exp(-event.deltaY / 600), event.clientX - box.left, event.clientY - box.top);
  event.preventDefault();
}, { passive: false });
el("paper").addEventListener("keydown", (event) => {
  if (state.mode === "labels") return labels.key(event);
  const step = { ArrowLeft: [-15, 0], ArrowRight: [15, 0], ArrowUp: [0, -15], ArrowDown: [0, 15] }[event.key];
  if (!step) return;
  stage.orbit(...step);
  event.preventDefault();
});

const on = (id, work, kind = "click") => el(id).addEventListener(kind, work);
on("to-rig", () => { say(); switchTo("rig"); });
on("to-labels", () => { say(); switchTo("labels"); });
on("opacity", () => { el("rig").style.opacity = el("opacity").value; }, "input");
on("show-points", () => stage.draw(), "input");
on("longer", () => stage.draw(), "input");
on("straight", () => stage.frame(state.frame));
on("whole", () => { const [width, height] = stage.rig.size; stage.frame([width / 2, height / 2, Math.max(width, height)]); });
on("no-heat", () => sliders.press(null));
on("search", filter, "input");
on("moved", filter, "input");
on("reset", () => { sliders.reset(); move(true); });
on("solve", () => solve({}));
on("stop", trying(() => ask("stop")));
on("save", trying(async () => { wait(true); try { written(await ask("save", { face: state.face, values: sliders.values })); } finally { wait(false); } }));
on("download", () => {
  const values = Object.fromEntries(sliders.rows.map((row, index) => [row.control.name, sliders.values[index]]));
  const file = URL.createObjectURL(new Blob([JSON.stringify(values, null, 2)], { type: "application/json" }));
  make("a", { href: file, download: "controls.json" }).click();
});
on("fit-labels", () => solve({ labels: labels.points }));
on("save-labels", trying(async () => { written(await ask("save-labels", { face: state.face, labels: labels.points })); labels.changed = false; }));
on("begin", () => { state.fit.suggested.forEach((point, index) => { if (!labels.points[index]) labels.points[index] = [...point]; }); labels.changed = true; labels.paint(); });
on("clear", () => { labels.show(labels.points.map(() => null)); });
on("item", () => open(+el("item").value), "change");
on("find", () => {
  const words = el("find").value.trim().toLowerCase();
  const fitting = state.items.map((item, index) => ({ ...item, index })).filter((item) => item.name.toLowerCase().includes(words));
  el("item").replaceChildren(...fitting.map((item) => make("option", {
    value: item.index, selected: item.index === state.face,
    textContent: item.why ? `${item.name}  (no fit)` : item.residual === null ? item.name : `${item.name}  (${shown(item.residual)} % IOD)`,
  })));
}, "input");
addEventListener("beforeunload", (event) => { if (labels.changed) event.preventDefault(); });

const ramp = [];
for (let i = 0; i < known.heat.length; i += 3) ramp.push(`rgb(${known.heat.slice(i, i + 3)})`);
document.querySelector("#legend i").style.background = `linear-gradient(to right, ${ramp})`;
trying(async () => {
  state.items = (await ask("list")).items;
  el("chooser").hidden = state.items.length < 2;
  el("find").dispatchEvent(new Event("input"));
  await open(state.items.findIndex((item) => !item.why));
})();
