"use strict";
(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const key = (row, column) => row.cells[column].dataset.value;
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      const text = button.dataset.kind === "text";
      button.addEventListener("click", () => {
        // Numbers begin with the largest; the order in which the page came counts from 0.
        const first = text || column === 1 ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === first ? other : first;
        for (const one of heads) if (one.hasAttribute("aria-sort")) one.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const compare = text
          ? (a, b) => key(a, column).localeCompare(key(b, column))
          : (a, b) => Number(key(a, column)) - Number(key(b, column));
        body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
      });
    });
  }
})();
