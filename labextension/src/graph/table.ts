// All that the graph says, as a table: for those who read with their ears, and for copying.

import { html } from "./elements";
import { stateClass } from "./style";
import type { Graph, Statuses } from "./types";
import { detailOf, lookOf, timeOf } from "./words";

const HEADS = ["step", "state", "time", "why", "takes", "makes", "follows"];

export function tableOf(graph: Graph, statuses: Statuses): HTMLElement {
  const before = new Map<string, string[]>();
  for (const edge of graph.edges) {
    if (edge.to && !edge.from.startsWith("file:")) {
      before.set(edge.to, [...(before.get(edge.to) ?? []), edge.from]);
    }
  }
  const nodes = new Map(graph.nodes.map((one) => [one.id, one]));
  const rows = graph.rails.map(({ id }) => {
    const node = nodes.get(id);
    const status = statuses.steps[id];
    const names = (list: { name: string }[] | undefined) => (list ?? []).map((one) => one.name).join(", ");
    const state = status ? lookOf(graph.looks, status.state).word : "";
    const cells = [state, timeOf(status, Date.now()), detailOf(status), names(node?.inputs), names(node?.outputs), (before.get(id) ?? []).join(", ")];
    const row = html("tr", {}, html("th", { scope: "row" }, id), ...cells.map((one) => html("td", {}, one)));
    row.children[1].classList.add(stateClass(status?.state ?? ""));
    return row;
  });
  const head = html("thead", {}, html("tr", {}, ...HEADS.map((one) => html("th", { scope: "col" }, one))));
  const caption = html("caption", { class: "jpg-live" }, `steps of ${graph.title}`);
  return html("div", { class: "jpg-scroll", style: "max-height:none;flex:1", tabindex: 0, role: "region", "aria-label": "steps as a table", "data-lm-suppress-shortcuts": "true" }, html("table", { class: "jpg-table" }, caption, head, html("tbody", {}, ...rows)));
}
