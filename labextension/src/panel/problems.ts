// What is wrong with the notebook, each with the way to it.

import type { Fault } from "../api";
import { FOCUSABLE, html } from "../graph/elements";

export function problemsOf(faults: Fault[], go: (cell: number) => void): HTMLElement {
  const rows = faults.map((fault) => {
    const place = fault.cell ? `cell ${fault.cell}${fault.line ? `, line ${fault.line}` : ""}` : "";
    const row = html(
      "button",
      { type: "button", class: `jpp-problem jpp-${fault.severity}`, ...FOCUSABLE },
      html("span", { class: "jpp-code" }, `${fault.severity}[${fault.code}]`),
      html("span", {}, fault.message),
      html("span", { class: "jpg-soft" }, [place, fault.suggestion].filter((one) => one).join(" · ")),
    );
    row.addEventListener("click", () => fault.cell && go(fault.cell));
    return row;
  });
  return html("div", { class: "jpp-problems", role: "group", "aria-label": "problems" }, ...rows);
}
