// Points placed by hand: on the photo, on the guide beside it and in a list, each showing which one is meant.
class Labels {
  // onChange(): a point was placed, moved or removed.
  constructor(stage, onChange) {
    Object.assign(this, { stage, onChange, points: [], names: guide.names, now: 0, changed: false });
    el("guide").append(draw("path", { d: guide.path[0] }));
    this.spots = guide.points.map(([cx, cy], index) => {
      const spot = draw("circle", { cx, cy, r: 2.4 });
      const title = draw("title");
      title.textContent = `${index} ${this.names[index]}`;
      spot.append(title);
      spot.addEventListener("click", () => this.choose(index));
      el("guide").append(spot);
      return spot;
    });
    this.number = draw("text");
    el("guide").append(this.number);
    this.options = this.names.map((name, index) => make("option", { value: index }));
    el("which").append(...this.options);
    el("which").addEventListener("change", () => this.choose(+el("which").value));
    this.rings = this.names.map((_, index) => {
      const ring = draw("circle", { r: 5 });
      ring.dataset.point = index;
      return ring;
    });
    this.word = draw("text");
    el("marks").append(...this.rings, this.word);
  }

  show(points) {
    this.points = points.map((point) => point && [...point]);
    this.changed = false;
    this.choose(Math.max(0, this.points.findIndex((point) => point === null)));
  }

  choose(index) {
    this.now = (index + this.points.length) % this.points.length;
    this.paint();
    el("which").value = this.now;
  }

  place(index, point) {
    this.points[index] = point;
    this.changed = true;
    this.paint();
    this.onChange();
  }

  // A click beside all points places the marked one, and goes on to the next that is missing.
  click(point) {
    this.place(this.now, point);
    for (let step = 1; step < this.points.length; step++) {
      const next = (this.now + step) % this.points.length;
      if (this.points[next] === null) return this.choose(next);
    }
  }

  key(event) {
    const step = event.shiftKey ? 0.1 : 1, point = this.points[this.now];
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (dx || dy) {
      const { clientWidth, clientHeight } = this.stage.canvas;
      const from = point ?? this.stage.toPhoto(clientWidth / 2, clientHeight / 2);
      this.place(this.now, [from[0] + dx, from[1] + dy]);
    } else if (event.key === "Delete" || event.key === "Backspace") this.place(this.now, null);
    else if (event.key === "n" || event.key === "N") this.choose(this.now + 1);
    else if (event.key === "p" || event.key === "P") this.choose(this.now - 1);
    else return;
    event.preventDefault();
  }

  paint() {
    const placed = this.points.filter(Boolean).length;
    this.points.forEach((point, index) => {
      const now = index === this.now, ring = this.rings[index];
      ring.style.display = point ? "" : "none";
      if (point) {
        const [cx, cy] = this.stage.toScreen(point);
        ring.setAttribute("cx", cx);
        ring.setAttribute("cy", cy);
      }
      ring.setAttribute("class", now ? "now" : "");
      this.spots[index].setAttribute("class", now ? "now" : point ? "placed" : "");
      this.spots[index].setAttribute("r", now ? 3.6 : 2.4);
      this.options[index].textContent = `${point ? "●" : "○"} ${index} ${this.names[index].replaceAll("_", " ")}`;
    });
    const [x, y] = guide.points[this.now] ?? [0, 0], point = this.points[this.now];
    this.number.setAttribute("x", x > 150 ? x - 14 : x + 6);
    this.number.setAttribute("y", y > 12 ? y - 4 : y + 9);
    this.number.textContent = this.now;
    this.word.textContent = point ? this.now : "";
    if (point) {
      const [cx, cy] = this.stage.toScreen(point);
      this.word.setAttribute("x", cx + 8);
      this.word.setAttribute("y", cy - 8);
    }
    el("current").replaceChildren(
      make("b", { textContent: `${this.now} ${this.names[this.now]?.replaceAll("_", " ")}` }),
      `${point ? "" : ": click where it is"} · ${placed} of ${this.points.length} placed`);
    for (const id of ["fit-labels", "save-labels", "clear"]) el(id).disabled = !placed;
  }
}
