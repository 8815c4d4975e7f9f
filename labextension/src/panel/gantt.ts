// When each step of a run worked: bars over seconds.

import type { Bar } from "../api";
import { html, svg, svgText } from "../graph/elements";
import { stateClass } from "../graph/style";
import { duration, shortened } from "../graph/words";

const ROW = 20;
const NAMES = 96;
const WIDE = 340;
const MOST = 300;

export function ganttOf(bars: Bar[], choose: (step: string) => void): HTMLElement {
  const shown = bars.slice(0, MOST);
  const end = Math.max(0.001, ...shown.map((one) => one.to ?? one.from ?? 0));
  const scale = (WIDE - NAMES - 46) / end;
  const names = [...new Set(shown.map((one) => one.step))];
  const picture = svg("svg", { class: "jpp-gantt", viewBox: `0 0 ${WIDE} ${names.length * ROW + 18}`, width: "100%", role: "img", "aria-label": shown.map((one) => `${one.step} ${one.state}, from ${duration(one.from ?? 0)} to ${duration(one.to ?? end)}`).join("; ") });
  names.forEach((name, row) => picture.append(svgText(shortened(name, 15), { x: 2, y: row * ROW + 14, class: "jpg-small" })));
  for (const bar of shown) {
    const y = names.indexOf(bar.step) * ROW + 4;
    const from = NAMES + (bar.from ?? 0) * scale;
    const breadth = Math.max(2, ((bar.to ?? end) - (bar.from ?? 0)) * scale);
    const part = svg("rect", { x: from, y, width: breadth, height: ROW - 8, rx: 3, fill: "currentColor" });
    const group = svg("g", { class: stateClass(bar.state) }, part);
    group.addEventListener("click", () => choose(bar.step));
    picture.append(group, svgText(duration((bar.to ?? end) - (bar.from ?? 0)), { x: from + breadth + 4, y: y + 10, class: "jpg-small" }));
  }
  picture.append(svgText(`0 s`, { x: NAMES, y: names.length * ROW + 13, class: "jpg-small" }), svgText(duration(end), { x: WIDE - 46, y: names.length * ROW + 13, class: "jpg-small" }));
  return html("div", { class: "jpp-ganttbox" }, picture);
}
