for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th button").forEach((button) => {
    const head = button.closest("th");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[head.cellIndex].dataset.key ?? row.cells[head.cellIndex].textContent.trim();
      const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
      [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b))).forEach((row) => body.append(row));
    });
  });
}
const filter = document.getElementById("filter");
if (filter) {
  const cards = [...document.querySelectorAll(".card")];
  const count = document.getElementById("count");
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    cards.forEach((card) => { card.hidden = !card.dataset.name.toLowerCase().includes(wanted); });
    count.textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length}`;
  };
  filter.addEventListener("input", show);
  window.addEventListener("hashchange", () => {
    const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (card?.hidden) { filter.value = ""; show(); card.scrollIntoView(); }
  });
}
