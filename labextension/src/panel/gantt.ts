// When each step of a run worked: bars over seconds.

import type { Bar } from "../api";
import { FOCUSABLE, html } from "../graph/elements";
import { stateClass } from "../graph/style";
import type { Look } from "../graph/types";
import { duration, lookOf } from "../graph/words";

const MOST = 300;

export function ganttOf(bars: Bar[], looks: Record<string, Look>, choose: (step: string) => void): HTMLElement {
  const shown = bars.slice(0, MOST);
  const end = Math.max(0.001, ...shown.map((one) => one.to ?? one.from ?? 0));
  const names = [...new Set(shown.map((one) => one.step))];
  const rows = names.map((name) => rowOf(name, shown.filter((one) => one.step === name), end, looks, choose));
  const more = bars.length > MOST ? html("div", { class: "jpg-soft" }, `and ${bars.length - MOST} more`) : "";
  const scale = html("div", { class: "jpp-scale jpg-soft", "aria-hidden": "true" }, html("span", {}, "0 s"), html("span", {}, duration(end)));
  return html("div", { class: "jpp-gantt", role: "group", "aria-label": "when each step worked" }, ...rows, scale, more);
}

function rowOf(name: string, bars: Bar[], end: number, looks: Record<string, Look>, choose: (step: string) => void): HTMLElement {
  const track = html("span", { class: "jpp-track" });
  let seconds = 0;
  const said: string[] = [];
  for (const bar of bars) {
    const from = bar.from ?? 0;
    const to = bar.to ?? end;
    seconds += to - from;
    said.push(`${lookOf(looks, bar.state).word}, from ${duration(from)} to ${duration(to)}`);
    track.append(html("span", { class: `jpp-bar ${stateClass(bar.state)}`, style: `left:${(100 * from) / end}%;width:${(100 * (to - from)) / end}%` }));
  }
  const label = `${name}: ${said.join("; ")}`;
  const row = html("button", { type: "button", class: "jpp-ganttrow", title: label, "aria-label": label, ...FOCUSABLE }, html("span", { class: "jpp-ganttname" }, name), track, html("span", { class: "jpg-soft jpp-ganttime" }, duration(seconds)));
  row.addEventListener("click", () => choose(name));
  return row;
}
