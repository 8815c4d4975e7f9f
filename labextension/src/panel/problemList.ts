// The list of problems of the notebook, each with a link to its cell.

import type { PipelineDiagnostic } from "../api";
import { FOCUSABLE, html } from "../graph/dom";

export function problemsOf(faults: PipelineDiagnostic[], go: (cell: number) => void): HTMLElement {
  const rows = faults.map((fault) => {
    const place = fault.cell ? `cell ${fault.cell}${fault.line ? `, line ${fault.line}` : ""}` : "";
    const row = html(
      "button",
      { type: "button", class: `jpp-problem jpp-${fault.severity}`, ...FOCUSABLE },
      html("span", { class: "jpp-code" }, `${fault.severity}[${fault.code}]`),
      html("span", {}, fault.message),
      html("span", { class: "jpg-soft" }, [place, fault.suggestion].filter((part) => part).join(" · ")),
    );
    row.addEventListener("click", () => fault.cell && go(fault.cell));
    return row;
  });
  return html("div", { class: "jpp-problems", role: "group", "aria-label": "problems" }, ...rows);
}
