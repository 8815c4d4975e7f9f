// The timeline of a run: bars over seconds.

import type { TimelineBar } from "../api";
import { FOCUSABLE, html } from "../graph/dom";
import { stateClass } from "../graph/graphStyle";
import type { StateStyle } from "../graph/documents";
import { formatDuration, styleOf } from "../graph/format";

const MAX_BARS = 300;

export function ganttOf(bars: TimelineBar[], looks: Record<string, StateStyle>, choose: (step: string) => void): HTMLElement {
  const shown = bars.slice(0, MAX_BARS);
  const end = Math.max(0.001, ...shown.map((bar) => bar.to ?? bar.from ?? 0));
  const names = [...new Set(shown.map((bar) => bar.step))];
  const rows = names.map((name) => rowOf(name, shown.filter((bar) => bar.step === name), end, looks, choose));
  const more = bars.length > MAX_BARS ? html("div", { class: "jpg-soft" }, `and ${bars.length - MAX_BARS} more`) : "";
  const scale = html("div", { class: "jpp-scale jpg-soft", "aria-hidden": "true" }, html("span", {}, "0 s"), html("span", {}, formatDuration(end)));
  return html("div", { class: "jpp-gantt", role: "group", "aria-label": "when each step worked" }, ...rows, scale, more);
}

function rowOf(name: string, bars: TimelineBar[], end: number, looks: Record<string, StateStyle>, choose: (step: string) => void): HTMLElement {
  const track = html("span", { class: "jpp-track" });
  let seconds = 0;
  const spans: string[] = [];
  for (const bar of bars) {
    const from = bar.from ?? 0;
    const to = bar.to ?? end;
    seconds += to - from;
    spans.push(`${styleOf(looks, bar.state).word}, from ${formatDuration(from)} to ${formatDuration(to)}`);
    track.append(html("span", { class: `jpp-bar ${stateClass(bar.state)}`, style: `left:${(100 * from) / end}%;width:${(100 * (to - from)) / end}%` }));
  }
  const label = `${name}: ${spans.join("; ")}`;
  const row = html("button", { type: "button", class: "jpp-ganttrow", title: label, "aria-label": label, ...FOCUSABLE }, html("span", { class: "jpp-ganttname" }, name), track, html("span", { class: "jpg-soft jpp-ganttime" }, formatDuration(seconds)));
  row.addEventListener("click", () => choose(name));
  return row;
}
