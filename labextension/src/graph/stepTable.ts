// The graph as a table: for screen readers, and for copying.

import { html } from "./dom";
import { stateClass } from "./graphStyle";
import type { GraphDocument, StatusDocument } from "./documents";
import { stepDetail, styleOf, stepTime } from "./format";

const COLUMNS = ["step", "state", "time", "why", "takes", "makes", "follows"];

export function stepTable(graph: GraphDocument, statuses: StatusDocument): HTMLElement {
  const before = new Map<string, string[]>();
  for (const edge of graph.edges) {
    if (edge.to && !edge.from.startsWith("file:")) {
      before.set(edge.to, [...(before.get(edge.to) ?? []), edge.from]);
    }
  }
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const rows = graph.rails.map(({ id }) => {
    const node = nodes.get(id);
    const status = statuses.steps[id];
    const names = (list: { name: string }[] | undefined) => (list ?? []).map((port) => port.name).join(", ");
    const state = status ? styleOf(graph.looks, status.state).word : "";
    const cells = [state, stepTime(status, Date.now()), stepDetail(status), names(node?.inputs), names(node?.outputs), (before.get(id) ?? []).join(", ")];
    const row = html("tr", {}, html("th", { scope: "row" }, id), ...cells.map((text) => html("td", {}, text)));
    row.children[1].classList.add(stateClass(status?.state ?? ""));
    return row;
  });
  const head = html("thead", {}, html("tr", {}, ...COLUMNS.map((title) => html("th", { scope: "col" }, title))));
  const caption = html("caption", { class: "jpg-live" }, `steps of ${graph.title}`);
  return html("div", { class: "jpg-scroll", style: "max-height:none;flex:1", tabindex: 0, role: "region", "aria-label": "steps as a table", "data-lm-suppress-shortcuts": "true" }, html("table", { class: "jpg-table" }, caption, head, html("tbody", {}, ...rows)));
}
